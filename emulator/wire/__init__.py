"""The wire, as pure functions: bytes and header lines in, values out.

Nothing here does I/O, reads a clock, or keeps state. What a rule comes from is named by the section of the
contract ("contract 4.5" is a heading in ``docs/contract/``), by an RFC, or by the page of the vendor's documentation.

Units: an instant is an ``int`` of unix milliseconds and its name ends in ``_at``; a span is an ``int`` whose
name carries its unit (``timeout_ms``, ``period_seconds``). That is how the wire and the store spell time, so
nothing is converted on the way.
"""
