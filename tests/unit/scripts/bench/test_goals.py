"""scripts/bench: the goals, from the tables to what the report says of them."""

import pkgutil
from collections import defaultdict
from importlib import import_module

import pytest

from bench import goals, items
from bench.goals import GOALS, Goal
from bench.modes import MODES
from bench.names import BATCH_1, CONSOLE, LONG, MULTI, NO_HISTORY, NO_LINES, NODE, OURS, REDIS_PY, XREAD
from bench.rounds import Results, Samples
from bench.table import Column, Table


def table(key: str, figure: str, **medians: float) -> Table:
    rows = {name: Samples({figure: [median, median, 10 * median]}) for name, median in medians.items()}
    return Table(key, key, [Column(figure, figure, more=True)]).fill(rows)


def said(*tables: Table) -> dict[str, tuple[float | None, bool | None]]:
    return {outcome.goal.text: (outcome.value, outcome.met) for outcome in goals.outcomes(tables)}


def test_goals_of_items_that_were_not_run_are_left_out() -> None:
    assert not said()
    assert goals.markdown([]) == ""
    found = said(table("receive", "messages/s", **{OURS: 600, BATCH_1: 400, CONSOLE: 100}))
    assert found == {
        "receive arrays / node-redis": (6, True),
        "receive one event a message / node-redis": (4, True),
    }


def test_a_figure_that_was_not_measured_is_left_out() -> None:
    assert not said(table("fanout-cpu", "CPU µs 10", **{OURS: 1}))


def test_a_missing_contender_shows_a_dash() -> None:
    kit = table("kit", "messages/s", **{OURS: 90, NO_HISTORY: 100, REDIS_PY: 20})
    assert said(kit) == {
        "the whole kit / node-redis without history": (None, None),
        "the whole kit / redis-py without history": (4.5, True),
        "the whole kit / Fanout with HISTORY_SIZE=0": (0.9, False),
    }
    lines = goals.markdown(goals.outcomes([kit])).splitlines()
    assert "| the whole kit / node-redis without history | ≥ 3.5× | – | – |" in lines
    assert "| the whole kit / redis-py without history | ≥ 4.5× | 4.50× | met |" in lines
    assert "| the whole kit / Fanout with HISTORY_SIZE=0 | ≥ 1× | 0.900× | **not met** |" in lines


def test_ours_missing_shows_a_dash() -> None:
    assert said(table("many", "events/s", **{MULTI: 1})) == {"publish on many channels / redis-py MULTI": (None, None)}


@pytest.mark.parametrize(
    ("text", "ratio"), [("best peer without history", 2), ("best peer with history", 0.5)], ids=["without", "with"]
)
def test_latency_is_compared_with_the_best_peer_that_logs(text: str, ratio: float) -> None:
    rows = {OURS: 100, NO_HISTORY: 1, REDIS_PY: 50, NODE: 70, MULTI: 300, XREAD: 200, f"{NODE}{NO_LINES}": 10}
    found = said(table("latency-1000", "p50", **rows))
    assert found[f"latency 1,000/s, p50 / {text}"] == (ratio, text == "best peer with history")


def test_with_and_without_history_against_every_peer() -> None:
    found = said(table("latency-10000", "p99", **{OURS: 90, NO_HISTORY: 80, REDIS_PY: 100, XREAD: 60}))
    assert found == {
        "latency 10,000/s, history, p99 / best peer": (1.5, False),
        "latency 10,000/s, HISTORY_SIZE=0, p99 / best peer": (80 / 60, False),
    }


def test_figures_that_are_no_ratios() -> None:
    outcome = goals.outcomes([table("catchup", "events/s", **{OURS: 620_000})])[0]
    assert outcome.data() == {"goal": "catching up", "asked": "≥ 500,000/s", "measured": 620_000, "met": True}
    assert said(table("flat", "µs", **{OURS: 2.0, LONG: 2.1})) == {
        "a message of a long run / of a short one": (1.05, True)
    }


def test_a_bound_is_within() -> None:
    assert Goal("", "", "", least=1).met(1)
    assert Goal("", "", "", most=1).met(1)
    assert not Goal("", "", "", most=1).met(1.001)


def test_each_goal_has_one_bound() -> None:
    assert all((goal.least is None) != (goal.most is None) for goal in GOALS)
    assert len({goal.text for goal in GOALS}) == len(GOALS)


def test_each_goal_speaks_of_what_is_measured() -> None:
    mode = MODES["full"]
    tables: dict[str, Table] = {}
    contenders: set[str] = set()
    for found in pkgutil.iter_modules(items.__path__):
        item = import_module(f"bench.items.{found.name}")
        nothing: Results = defaultdict(dict)
        tables |= {table.key: table for table in item.tables(mode, nothing)}
        contenders |= {name for group in item.runs(mode).values() for name in group}
    for goal in GOALS:
        assert goal.figure in [column.figure for column in tables[goal.table].columns]
        assert goal.ours in contenders
        assert "node" in goal.text or "benchmark" in goal.text or not goal.theirs or any(map(goal.theirs, contenders))
