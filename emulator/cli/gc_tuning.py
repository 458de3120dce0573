"""What is kept from the garbage collector, which looks for cycles where a server has hardly any."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def nothing_is_garbage() -> Iterator[None]:
    """For imports: all that they make stays, and looking for garbage among it takes a sixth of their time.

    What is there afterwards is never looked at again, so that collections under load have less to do, too.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def search_less() -> None:
    """For a server that is ready: what is there stays, and requests leave many objects but hardly a cycle.

    The search was a fifth of the CPU of a message.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
