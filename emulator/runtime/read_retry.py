"""Repeat a read until the store answers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from emulator.errors import StoreUnavailable
from emulator.store.writer import RETRY_SECONDS

log: logging.Logger = logging.getLogger(__name__)

T = TypeVar("T")


async def at_last(read: Callable[[], Awaitable[T]]) -> T:
    """Return the result of ``read`` as soon as the store can be read; no other code would repeat the read."""
    refusal: str | None = None
    while True:
        try:
            return await read()
        except StoreUnavailable as error:
            if str(error) != refusal:
                refusal = str(error)
                log.warning("the store cannot be read: %s", refusal, extra={"event": "store_unreadable"})
            await asyncio.sleep(RETRY_SECONDS)
