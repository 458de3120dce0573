"""The state of an account, an emulator or a file as one value: read, compared, applied (docs/account.md).

It uses only a server's ``/v2`` API, as a real account has no other. Not yet tried on a real account.
"""
