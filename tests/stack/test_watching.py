"""The layer with Prometheus, and make top, on the Compose stack."""

import json
import os
import re
import urllib.request
from typing import Any

from support.compose_stack import ROOT, Stack
from support.terminal import Terminal
from support.waiting import eventually


def test_prometheus_finds_each_replica_by_itself(metrics: Stack) -> None:
    def ask(path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics.prometheus_port}/api/v1/{path}", timeout=10) as answer:
            return json.load(answer)["data"]

    def replicas() -> dict[str, int]:
        return {
            one["metric"]["replica"].removeprefix(f"{metrics.project}-"): int(one["value"][1])
            for one in ask("query?query=fanout_messages_received_total*on(instance)group_left(replica)fanout_info")[
                "result"
            ]
        }

    def up() -> int:
        return sum(target["health"] == "up" for target in ask("targets")["activeTargets"])

    metrics.send("one", "two")
    eventually(lambda: replicas() == {"subscriber-1": 2, "subscriber-2": 2, "subscriber-3": 2}, 40)
    eventually(lambda: up() == 4, 40)  # the publisher's turn may come last
    (group,) = ask("rules")["groups"]
    assert {rule["health"] for rule in group["rules"]} == {"ok"}
    metrics.make("scale", SUBSCRIBERS="1")
    eventually(lambda: up() == 2, 40)


def test_make_top_shows_each_replica_and_leaves_nothing_behind_in_the_container(stack: Stack) -> None:
    publisher = stack.containers("publisher")[0]

    def processes() -> int:
        return len(stack.run("docker", "top", publisher).splitlines())

    stack.reach_all("for top")
    before = processes()
    top = Terminal("make", "--no-print-directory", "top", cwd=ROOT, env=stack.env)
    try:
        top.shows(r"^subscriber-3 +live ")
        shown = top.shows(r"^Redis connected .*1 publisher, 3 subscribers")
        assert re.search(r"^notifications at [1-9]", shown, re.MULTILINE)
        assert re.findall(r"^(\S+) +live ", shown, re.MULTILINE) == [
            "publisher-1",
            *(f"subscriber-{n}" for n in (1, 2, 3)),
        ]
        assert processes() > before
        os.killpg(top.process.pid, 9)  # with no chance to tidy up
        top.process.wait()
    finally:
        top.close()
    eventually(lambda: processes() == before)
    assert "subscriber-3  live" in stack.make("top", ONCE="1")
