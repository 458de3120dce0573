"""A cache of messages that will soon be delivered, so that most deliveries read nothing."""

from collections import OrderedDict

from emulator.broker.message import Message

_MOST_MESSAGES = 10_000
_MOST_BYTES = 64 * 1024 * 1024


class MessagesAtHand:
    """Messages with their bodies by sequence number. Above a bound the oldest are dropped, and read from the store."""

    def __init__(self) -> None:
        self._entries: OrderedDict[int, tuple[Message, bytes]] = OrderedDict()
        self._bytes = 0

    def __contains__(self, seq: int) -> bool:
        return seq in self._entries

    def put(self, message: Message, body: bytes) -> None:
        """Add a message, or make it the newest if it is present."""
        if message.seq in self._entries:
            self.take(message.seq)
        self._entries[message.seq] = (message, body)
        self._bytes += len(body)
        while len(self._entries) > _MOST_MESSAGES or self._bytes > _MOST_BYTES:
            _, (_, dropped) = self._entries.popitem(last=False)
            self._bytes -= len(dropped)

    def take(self, seq: int) -> tuple[Message, bytes]:
        """Remove the message and return it. Raises KeyError."""
        message, body = self._entries.pop(seq)
        self._bytes -= len(body)
        return message, body
