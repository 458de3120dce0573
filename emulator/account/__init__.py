"""The state of an account, an emulator or a file as one value: read, compared, applied (docs/account.md).

Of a server only ``/v2`` is used, as a real account has nothing else. Not yet tried on a real account.
"""
