"""Tuning of the garbage collector: a server creates many objects, but hardly any reference cycles."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def nothing_is_garbage() -> Iterator[None]:
    """Pause collection during imports: all their objects stay, and collection takes a sixth of the time.

    The objects made inside are never examined again, so that later collections have less to do.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def search_less() -> None:
    """Collect less often in a running server: requests create many objects and hardly any reference cycles.

    Collection took a fifth of the CPU of a message.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
