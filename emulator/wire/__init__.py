"""The wire, as pure functions: bytes and header lines in, values out.

The modules do no I/O, read no clock and keep no state. The source of a rule is given as a section of the contract
("contract 4.5" is a heading in ``docs/contract/``), an RFC, or a page of the vendor's documentation.

Units: an instant is an ``int`` of unix milliseconds whose name ends in ``_at``; a span is an ``int`` whose name has
its unit (``timeout_ms``, ``period_seconds``). The wire and the store use the same units, so nothing is converted.
"""
