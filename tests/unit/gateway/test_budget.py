import asyncio

from gateway.budget import Budget


async def test_whoever_waits_for_a_budget_gets_it_in_turn_and_whoever_gives_up_takes_nothing() -> None:
    budget, got = Budget(100), []
    leave = asyncio.Event()

    async def take(name: str, size: int) -> None:
        async with budget.reserve(size):
            got.append(name)
            await leave.wait()

    first = [asyncio.create_task(take(name, 60)) for name in "abc"]
    small = asyncio.create_task(take("small", 10))
    await asyncio.sleep(0)
    assert (got, budget.wanted, budget.served) == (["a"], True, 4)  # the small one does not overtake
    first[1].cancel()
    first[0].cancel()  # in the same turn: its bytes must not go to the one that gives up
    await asyncio.wait(first[:2])
    for _ in range(3):
        await asyncio.sleep(0)
    assert (got, budget.wanted) == (["a", "c", "small"], False)
    leave.set()
    await asyncio.gather(first[2], small)
    for _ in range(2):
        async with asyncio.timeout(1), budget.reserve(10**9):  # all there are
            pass


async def test_a_budget_that_was_granted_to_one_who_is_cancelled_goes_on_to_the_next() -> None:
    budget = Budget(10)
    entered = []

    async def take(name: str) -> None:
        async with budget.reserve(10):
            entered.append(name)

    async with budget.reserve(10):
        granted, after = asyncio.create_task(take("granted")), asyncio.create_task(take("after"))
        await asyncio.sleep(0)
    granted.cancel()
    await asyncio.wait([granted, after], timeout=5)
    assert entered == ["after"]
    async with asyncio.timeout(1), budget.reserve(10):
        pass
