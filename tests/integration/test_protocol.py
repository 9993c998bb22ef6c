"""The protocol against a real server: random faults, then rest; and every sequence that once failed, by its name."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from support.world import STRANGE, World

EXAMPLES = int(os.environ.get("EXAMPLES", "60"))

slot = st.integers(0, 1)
subscriber = st.integers(0, 2)
steps = st.one_of(
    st.tuples(st.just("publish"), slot, st.integers(1, 8)),
    st.tuples(st.just("publish"), slot, st.integers(1, 8)),
    st.tuples(st.just("publish"), slot, st.integers(20, 40)),
    st.tuples(st.just("settle")),
    st.tuples(st.just("settle")),
    st.tuples(
        st.just("fault"), st.integers(0, 4), st.sampled_from(["cut", "request lost", "request late", "reply lost"])
    ),
    st.tuples(st.just("keep")),
    st.tuples(st.just("roll_back"), st.floats(0, 1)),
    st.tuples(st.just("restart_subscriber"), subscriber, st.booleans()),
    st.tuples(st.just("replace_publisher"), slot),
    st.tuples(st.just("script_flush")),
    st.tuples(st.just("stranger"), slot, st.integers(0, len(STRANGE) - 1)),
    st.tuples(st.just("add_by_hand"), slot),
    st.tuples(st.just("forget_producers")),
    st.tuples(st.just("refuse_writes"), st.booleans()),
)
losing = st.one_of(st.tuples(st.just("flush_all")), st.tuples(st.just("trim"), st.integers(0, 5)))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("world"))
    yield world
    world.close()


def run(world: World, schedule: list[tuple]) -> None:
    world.begin()
    try:
        for name, *arguments in schedule:
            if name == "restart_subscriber":
                world.restart_subscriber(arguments[0], crash=arguments[1])
            else:
                getattr(world, name)(*arguments)
        assert world.rest() == []
    finally:
        world.end()


REGRESSIONS = {
    "a catch-up of several pages reads to the end": [
        ("restart_subscriber", 2, True), ("publish", 0, 40), ("restart_subscriber", 2, True), ("publish", 0, 40), ("fault", 4, "cut"),
    ],
    "an event that comes between two looks at an empty history counts as found": [
        ("publish", 0, 30), ("trim", 4), ("flush_all",), ("publish", 1, 30),
    ],
    "a start that a rollback took is made again from the beginning": [
        ("publish", 0, 1), ("restart_subscriber", 2, True), ("replace_publisher", 0), ("publish", 0, 2),
        ("roll_back", 0.2), ("roll_back", 0.8), ("publish", 0, 30), ("roll_back", 0.1), ("fault", 4, "reply lost"),
    ],
    "what a catch-up found gone is reported also when its connection breaks": [
        ("publish", 0, 30), ("keep",), ("fault", 0, "cut"), ("roll_back", 0.43), ("script_flush",), ("settle",), ("trim", 2),
        ("restart_subscriber", 0, False), ("roll_back", 0.98), ("keep",),
    ],
    "the script may be forgotten between its load and its use": [
        ("publish", 0, 3), ("script_flush",), ("script_flush",), ("script_flush",), ("publish", 0, 8), ("replace_publisher", 1),
        ("script_flush",), ("publish", 1, 8), ("script_flush",),
    ],
    "a record that a rollback brings back takes no name": [
        ("publish", 0, 3), ("restart_subscriber", 2, True), ("flush_all",), ("restart_subscriber", 2, False), ("roll_back", 0.1),
        ("restart_subscriber", 2, False),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", REGRESSIONS)
def test_what_once_failed(world: World, name: str) -> None:
    for _ in range(3):
        run(world, REGRESSIONS[name])


profile = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    print_blob=True,
)


@profile
@given(schedule=st.lists(steps, min_size=3, max_size=15))
def test_every_accepted_event_reaches_every_subscriber_once_and_in_order(world: World, schedule: list[tuple]) -> None:
    run(world, schedule)


@profile
@given(schedule=st.lists(st.one_of(steps, losing), min_size=3, max_size=15))
def test_what_is_gone_from_history_is_reported(world: World, schedule: list[tuple]) -> None:
    run(world, schedule)
