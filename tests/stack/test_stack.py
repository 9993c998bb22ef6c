"""The stack that `make up` starts: messages reach everybody, through faults and scaling."""

import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from fanout.errors import ExitCode
from support.compose_stack import Stack
from support.waiting import eventually, missing

HERE = Path(__file__).parent


def test_three_replicas_each_log_every_one_of_20_messages_once(stack: Stack) -> None:
    subscribers = stack.containers("subscriber")
    assert [name.removeprefix(stack.project) for name in subscribers] == [
        "-subscriber-1",
        "-subscriber-2",
        "-subscriber-3",
    ]
    messages = [f"twenty {n}" for n in range(20)]
    stack.reach_all(*messages)
    for name in subscribers:
        assert [data for data in stack.data(name) if data.startswith("twenty")] == messages
        assert {line["instance"] for line in stack.log(name)} == {name}


def test_the_api_is_reached_from_this_machine(stack: Stack) -> None:
    url = f"http://127.0.0.1:{stack.api_port}/channels/notifications/messages"
    with urllib.request.urlopen(urllib.request.Request(url, data=b"by http", method="POST"), timeout=10) as answer:
        assert answer.status == 202
    for name in stack.containers("subscriber"):
        eventually(lambda n=name: "by http" in stack.data(n))


def test_make_send_and_redis_cli_reach_every_subscriber(stack: Stack) -> None:
    stack.make("send", DATA="by make")
    stack.compose("exec", "-T", "redis", "redis-cli", "PUBLISH", "notifications", "by redis-cli")
    for name in stack.containers("subscriber"):
        eventually(lambda n=name: {"by make", "by redis-cli"} <= set(stack.data(n)))


def test_a_killed_redis_is_reached_again_with_the_attempts_in_the_log(stack: Stack) -> None:
    stack.compose("kill", "redis")
    for name in stack.containers("subscriber"):
        eventually(lambda n=name: stack.events(n, "connect_failed"))
    stack.compose("start", "redis")
    stack.wait_live(2)
    stack.reach_all("after the kill")


def test_a_paused_redis_is_noticed_and_reached_again(stack: Stack) -> None:
    before = {name: len(stack.events(name, "connection_lost")) for name in stack.containers("subscriber")}
    stack.compose("pause", "redis")
    paused = time.monotonic()
    try:
        for name, count in before.items():
            lost = eventually(lambda n=name, c=count: stack.events(n, "connection_lost")[c:], 8)
            assert "no sign of life" in lost[0]["cause"]
        eventually(lambda: time.monotonic() - paused > 8)
    finally:
        stack.compose("unpause", "redis")
    for name, count in before.items():
        eventually(lambda n=name, c=count: len(stack.events(n, "subscribed")) > c + 1)
    stack.reach_all("after the pause")


def test_a_redis_that_is_cut_off_is_noticed_and_reached_again(stack: Stack) -> None:
    redis = stack.containers("redis")[0]
    before = {name: len(stack.events(name, "connection_lost")) for name in stack.containers("subscriber")}
    networks = [f"{stack.project}_front", f"{stack.project}_back"]
    for network in networks:
        stack.run("docker", "network", "disconnect", network, redis)
    began = time.monotonic()
    try:
        for name, count in before.items():
            eventually(lambda n=name, c=count: stack.events(n, "connection_lost")[c:], 8)
        assert time.monotonic() - began < 8
    finally:
        for network in networks:
            stack.run("docker", "network", "connect", "--alias", "redis", network, redis)
    for name, count in before.items():
        eventually(lambda n=name, c=count: len(stack.events(n, "subscribed")) > c + 1)
    stack.reach_all("after the cut")


def test_subscribers_scale_up_and_down_while_messages_flow(stack: Stack) -> None:
    stack.make("scale", SUBSCRIBERS="1")
    assert stack.containers("subscriber") == [f"{stack.project}-subscriber-1"]
    stack.reach_all("one is enough")
    stack.make("scale", SUBSCRIBERS="3")
    stack.wait_live()
    stack.reach_all("three again")
    assert len(stack.containers("subscriber")) == 3
    assert "three again" in stack.data(f"{stack.project}-subscriber-3")


def test_a_redis_that_comes_up_last_is_waited_for(stack: Stack) -> None:
    stack.compose("stop", "redis", "subscriber", "--timeout", "10")
    for name in stack.containers("subscriber"):
        stack.run("docker", "start", name)
        eventually(lambda n=name: any(line["attempt"] >= 3 for line in stack.events(n, "connect_failed")))
    stack.compose("start", "redis")
    stack.reach_all("redis was last")


def test_sigterm_ends_every_service_with_code_0_and_totals(stack: Stack) -> None:
    names = stack.containers("subscriber") + stack.containers("publisher")
    began = time.monotonic()
    stack.compose("stop", "subscriber", "publisher")
    assert time.monotonic() - began < 6
    for name in names:
        assert stack.run("docker", "inspect", "-f", "{{.State.ExitCode}}", name).strip() == "0"
        assert stack.log(name)[-1]["event"] == "stopped"
    stack.compose("start", "subscriber", "publisher")
    stack.reach_all("started again")


@pytest.mark.parametrize(
    ("setting", "code", "why"),
    [
        ("REDIS_PASSWORD=wrong", ExitCode.REFUSED_BY_REDIS, "Redis refuses"),
        ("CHANNELS=a{b", ExitCode.BAD_INPUT, "CHANNELS is 'a{b', but must be"),
        ("HANDLER=handlers.none:handle", ExitCode.BAD_INPUT, "No module named 'handlers.none'"),
    ],
)
def test_what_cannot_work_ends_with_one_clear_line_and_its_exit_code(
    stack: Stack, setting: str, code: int, why: str
) -> None:
    done = subprocess.run(
        ["docker", "compose", "run", "--rm", "-T", "--no-deps", "-e", setting, "subscriber"],
        cwd=HERE.parents[1], env=stack.env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert why in json.loads(done.stdout.splitlines()[-1])["reason"]


def test_the_example_handler_is_called(stack: Stack) -> None:
    stack.compose("up", "--detach", "--no-deps", "subscriber", HANDLER="handlers.example:handle")
    name = f"{stack.project}-subscriber-1"
    eventually(lambda: stack.events(name, "subscribed"))
    stack.send("handle me")
    eventually(lambda: stack.events(name, "handled"))
    stack.compose("up", "--detach", "--no-deps", "--scale", "subscriber=3")
    stack.wait_live()


def test_the_tutorials_node_pair_talks_with_the_kit_in_both_directions(stack: Stack) -> None:
    if not shutil.which("node") or not Path("/usr/share/nodejs/redis").is_dir():
        missing("Node.js and Debian's node-redis are missing")
    url = f"redis://127.0.0.1:{stack.redis_port}"
    env = stack.env | {"NODE_PATH": "/usr/share/nodejs"}
    node = subprocess.Popen(
        ["node", str(HERE / "tutorial.js"), url], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with node:
        assert node.stdin
        assert node.stdout
        assert node.stdout.readline() == "ready\n"
        stack.compose(
            "exec",
            "-T",
            "-e",
            "WIRE_FORMAT=plain",
            "-e",
            "HISTORY_SIZE=0",
            "publisher",
            "python",
            "-m",
            "publisher",
            "send",
            "notifications",
            "from kit",
        )
        assert node.stdout.readline() == "from kit\n"
        node.stdin.write("go\n")
        node.stdin.flush()
        assert node.stdout.readline() == "from node\n"
    for name in stack.containers("subscriber"):
        eventually(lambda n=name: {"from kit", "from node"} <= set(stack.data(n)))
