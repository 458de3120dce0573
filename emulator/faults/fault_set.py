"""The faults in force, and which one strikes next."""

import random
from collections.abc import Iterator, Mapping, MutableSet
from dataclasses import dataclass
from typing import Any

from emulator.errors import InvalidInput, NotFound
from emulator.faults.fault import Fault, Kind
from emulator.faults.matching import Facts, matches
from emulator.wire.ids import IdFactory


@dataclass(slots=True)
class _Entry:
    fault: Fault
    dice: random.Random
    seen: int = 0
    struck: int = 0


class FaultSet:
    """One tenant's faults, tried in the order in which they were added; the first that matches strikes.

    The choice is deterministic: the same calls in the same order give the same faults, probabilities included,
    because each fault draws from a seed of its own.
    """

    def __init__(
        self, ids: IdFactory, *, seed: int = 0, disturbing: "MutableSet[FaultSet] | None" = None
    ) -> None:
        """``disturbing`` contains this object while it has a fault of the publish API."""
        self._ids = ids
        self._seed = seed
        self._entries: list[_Entry] = []
        self._disturbing = disturbing if disturbing is not None else set()
        self._added = 0
        self.has_spoilt_signatures: bool = False
        """Whether a fault has given some delivery a wrong signature so far."""

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Fault]:
        return iter([entry.fault for entry in self._entries])

    def add(self, kind: Kind | str, **fields: Any) -> Fault:
        """Put a fault in force: ``add("refuse", destination="https://app.example.com", count=2)``.

        ``fields`` are those of ``Fault``. Raises InvalidInput naming the field and what is accepted.
        """
        return self.add_fault({"kind": kind, **fields})

    def add_fault(self, fields: Mapping[str, Any]) -> Fault:
        """Put a fault in force. Raises InvalidInput naming the field and what is accepted."""
        if "id" in fields:
            raise InvalidInput("invalid fault: id is given by the emulator")
        fault = Fault.parse({**fields, "id": self._ids.fault_id()})
        seed = self._seed + self._added if fault.seed is None else fault.seed
        self._added += 1
        self._entries = [*self._entries, _Entry(fault, random.Random(seed))]  # noqa: S311  must repeat
        self._note_change()
        return fault

    def remove(self, fault_id: str) -> None:
        """Remove a fault. Raise NotFound."""
        kept = [entry for entry in self._entries if entry.fault.id != fault_id]
        if len(kept) == len(self._entries):
            raise NotFound(f"fault {fault_id} not found")
        self._entries = kept
        self._note_change()

    def clear(self) -> None:
        """Remove all faults."""
        self._entries = []
        self._note_change()

    def struck(self, fault_id: str) -> int:
        """Return how often a fault has struck. Raise NotFound."""
        for entry in self._entries:
            if entry.fault.id == fault_id:
                return entry.struck
        raise NotFound(f"fault {fault_id} not found")

    def for_delivery(self, facts: Facts) -> Fault | None:
        """Return the fault that strikes a delivery attempt, and count it; ``None`` if none does."""
        return self._decide(facts, is_publishing=False)

    def for_publish(self, facts: Facts) -> Fault | None:
        """Return the fault that strikes a call of the publish API, and count it; ``None`` if none does."""
        return self._decide(facts, is_publishing=True)

    def _decide(self, facts: Facts, *, is_publishing: bool) -> Fault | None:
        for entry in self._entries:
            fault = entry.fault
            if fault.kind.strikes_publishing is is_publishing and matches(fault, facts) and _strikes(entry):
                entry.struck += 1
                self.has_spoilt_signatures |= fault.kind.is_in_signature
                return fault
        return None

    def _note_change(self) -> None:
        if any(entry.fault.kind.strikes_publishing for entry in self._entries):
            self._disturbing.add(self)
        else:
            self._disturbing.discard(self)


def _strikes(entry: _Entry) -> bool:
    fault = entry.fault
    entry.seen += 1
    if entry.seen <= fault.skip or (fault.count is not None and entry.struck >= fault.count):
        return False
    return fault.probability >= 1 or entry.dice.random() < fault.probability
