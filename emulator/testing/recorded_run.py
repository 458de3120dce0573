"""The record of a harness's run, for the invariants: what was called and sent, and what the store has in the end."""

from starlette.types import Scope

from emulator.broker.message import AttemptResult
from emulator.delivery.request import OutboundRequest
from emulator.delivery.transport import Transport
from emulator.server import Emulator
from emulator.store.queries import list_flow_keys, list_messages
from emulator.testing.asgi import AppResponse
from emulator.testing.invariants import Interruption, Record
from emulator.testing.read_back import read_kept
from emulator.testing.recorder import ClientCall, ReceivedRequest, Recorder, Start


class RecordedRun:
    """Record of the default user's calls and deliveries, from ``begin`` on. Times are unix milliseconds."""

    def __init__(self, start_at: int) -> None:
        # Messages due at the start are sent before ``begin`` is called.
        self.recorder: Recorder = Recorder(Start(at=start_at, signing_key=""))
        self._begun_at = start_at
        self._crashes_before = 0

    def begin(self, emulator: Emulator) -> None:
        """Start over from the emulator's present state: the invariants are not checked on what happened before."""
        runtime, store = emulator.runtimes[0], emulator.writer.store
        state = runtime.broker.state
        self._begun_at, self._crashes_before = runtime.clock.now_at(), len(runtime.crashed_at)
        self.recorder.forget(
            Start(
                at=self._begun_at,
                signing_key=state.keys.current,
                message_ids=frozenset(
                    stored.message.id for stored in list_messages(store, runtime.tenant.id)
                ),
                queues={
                    name: (line.queue.parallelism, line.queue.is_paused)
                    for name, line in state.queues.items()
                },
                flow_keys=frozenset(key.key for key in list_flow_keys(store, runtime.tenant.id)),
            )
        )

    def note_call(
        self, scope: Scope, body: bytes, answer: AppResponse | None, *, token: str, sent_at: int, done_at: int
    ) -> None:
        """Record a client's request and its response, if the request carries ``token``."""
        lines = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        query = scope["query_string"].decode("latin-1")
        if not any(token in text for text in (query, *(v for n, v in lines if n == "authorization"))):
            return
        self.recorder.note_call(
            ClientCall(
                method=scope["method"],
                target=scope["raw_path"].decode("latin-1"),
                query=query,
                lines=lines,
                body=body,
                status=None if answer is None else answer.status,
                answer=b"" if answer is None else answer.body,
                sent_at=sent_at,
                done_at=done_at,
            )
        )

    def note_request(self, request: OutboundRequest) -> None:
        """Record a request to a destination, if it delivers a message."""
        lines = {name.lower(): value for name, value in request.headers}
        if "upstash-message-id" in lines:
            self.recorder.note_request(
                ReceivedRequest(
                    message_id=lines["upstash-message-id"],
                    retried=int(lines.get("upstash-retried", "0")),
                    url=request.url,
                    body=request.body,
                    signature=lines.get("upstash-signature"),
                )
            )

    def record(self, emulator: Emulator) -> Record:
        """Return the record of the run so far, with what the emulator's store has now."""
        runtime, retention = emulator.runtimes[0], emulator.settings.retention
        now_at = runtime.clock.now_at()
        kept = read_kept(emulator.writer.store, runtime.tenant.id)
        return self.recorder.record(
            kept,
            now_at=now_at,
            is_idle=runtime.is_idle,
            is_pruned=now_at - retention.messages_ms > self._begun_at,
            dead_letters_since_at=now_at - retention.dead_letters_ms,
            interruptions=[
                Interruption(from_at=at, to_at=at) for at in runtime.crashed_at[self._crashes_before :]
            ],
            is_signed_by_the_rules=not runtime.faults.has_spoilt_signatures,
        )


class RecordingTransport:
    """The transport of all deliveries, which records each request in ``run``."""

    def __init__(self, transport: Transport, run: RecordedRun) -> None:
        self._transport = transport
        self._run = run

    async def send(self, request: OutboundRequest) -> AttemptResult:
        """Record the request, then send it."""
        self._run.note_request(request)
        return await self._transport.send(request)

    async def close(self) -> None:
        """Close the transport beneath."""
        await self._transport.close()
