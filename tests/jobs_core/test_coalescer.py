"""Taking everything that waits at once."""

from collections.abc import Sequence

from jobs_core.database.batching import Coalescer


async def test_joining_ends_when_the_last_group_has_just_ended() -> None:
    """Its task is done, and not yet seen to be: from Python 3.12 on, gather then does not give way."""

    async def double(numbers: Sequence[int]) -> list[int]:
        return [2 * number for number in numbers]

    doubling: Coalescer[int, int] = Coalescer(double, limit=10)
    assert await doubling.submit(21) == 42
    await doubling.join()
