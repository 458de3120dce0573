"""The objects of the wire as types, one module for each resource (contract 2.0).

Answers are ``TypedDict``s, requests are pydantic models. A field without a value is absent, never ``null``, so an
optional field is ``NotRequired`` rather than nullable. The OpenAPI document is written from these types, and the
tests hold every answer of the API to them; publishing does not validate what it says itself.
"""
