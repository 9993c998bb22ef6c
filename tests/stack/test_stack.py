import json
import re
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from compose_stack import Stack
from fanout.errors import ExitCode
from followed import Followed
from waiting import eventually, missing

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


def test_logs_shows_replicas_that_come_and_go_and_never_garbles_what_is_no_json(stack: Stack, tmp_path: Path) -> None:
    logs = Followed(stack.env, tmp_path / "followed", TAIL="5", SERVICE="subscriber,redis")
    image = stack.run("docker", "inspect", "-f", "{{.Image}}", stack.containers("subscriber")[0]).strip()
    number = {"project": stack.project, "service": "subscriber", "container-number": "9", "oneoff": "False"}
    labels = [word for name, value in number.items() for word in ("--label", f"com.docker.compose.{name}={value}")]
    half = "print('y' * 100_000, flush=True); print('half', flush=True); print('a line', end='')"
    try:
        logs.wait_for(r"^ +redis-1 +\| \d+:M .* Ready to accept connections")
        stack.make("scale", SUBSCRIBERS="4")
        logs.wait_for(r"^[\d:.]{12} subscriber-4 \| info     live +channels=1 ")
        stack.send("to all four")
        for n in (1, 2, 3, 4):
            logs.wait_for(
                rf"^[\d:.]{{12}} subscriber-{n} \| info     message_received   notifications +[\d.]+ ms  to all four$"
            )
        stack.run(
            "docker",
            "run",
            "--name",
            f"{stack.project}-subscriber-9",
            *labels,
            "--entrypoint",
            "python",
            image,
            "-c",
            half,
        )
        logs.wait_for(r"^ +subscriber-9 \| y{100000}$")
        logs.wait_for(r"^ +subscriber-9 \| half$")
        logs.wait_for(r"^ +subscriber-9 \| a line$")
        stack.run("docker", "kill", f"{stack.project}-subscriber-4")
        logs.wait_for(r"^ +subscriber-4 \| exited with code 137$")
        stack.run("docker", "start", f"{stack.project}-subscriber-4")
        logs.wait_for(r"^ +subscriber-4 \| exited with code 137\n(.*\n)*[\d:.]{12} subscriber-4 \| info     live ")
        logs.interrupt()
    finally:
        logs.kill()
        stack.run("docker", "rm", "-f", f"{stack.project}-subscriber-9")
        stack.make("scale", SUBSCRIBERS="3")
    assert "\x1b" not in logs.text()
    assert "publisher-1" not in logs.text()


def test_the_past_of_the_log_is_filtered_and_in_order_of_time(stack: Stack) -> None:
    stack.reach_all(*(f"past {n}" for n in range(5)))
    raw = stack.make("logs", FOLLOW="0", RAW="1", SERVICE="subscriber", EVENT="message_received", TAIL="5").splitlines()
    entries = [json.loads(line) for line in raw]
    assert len(entries) == 15
    assert [entry["timestamp"] for entry in entries] == sorted(entry["timestamp"] for entry in entries)
    assert raw[0] in stack.run("docker", "logs", entries[0]["instance"]).splitlines()
    assert stack.make("logs", FOLLOW="0", SERVICE="nobody", code=2) == ""


def test_report_says_who_received_what_also_when_a_subscriber_is_killed(stack: Stack) -> None:
    stack.wait_live()
    text = stack.make("report")
    for n in (1, 2, 3):
        assert re.search(rf"^subscriber-{n} +20 +0 +0 +0 +0( +[\d.,]+){{4}}$", text, re.MULTILINE), text
    assert text.endswith("\nWell: 20 messages reached all 3 replicas, once and in order.\n")

    victim = f"{stack.project}-subscriber-2"
    command = ["make", "--no-print-directory", "report", "COUNT=40", "RATE=10", "WITHIN=60", "JSON=1"]
    with subprocess.Popen(command, cwd=HERE.parents[1], env=stack.env, stdout=subprocess.PIPE, text=True) as report:
        eventually(lambda: any(re.match(r"report \w+ 5 of 40", str(data)) for data in stack.data(victim)), 60)
        stack.run("docker", "kill", victim)
        stack.run("docker", "start", victim)
        found = json.loads(report.communicate(timeout=120)[0])
    assert report.returncode == 0
    assert {row["replica"]: row["received"] for row in found["replicas"]} == {f"subscriber-{n}": 40 for n in (1, 2, 3)}
    killed = next(row for row in found["replicas"] if row["replica"] == "subscriber-2")
    assert (killed["note"], killed["well"]) == ("restarted", True)
    assert killed["caught_up"] > 0


def test_report_says_what_is_missing(stack: Stack) -> None:
    name = stack.containers("subscriber")[2]
    for network in ("front", "back"):
        stack.run("docker", "network", "disconnect", f"{stack.project}_{network}", name)
    try:
        text = stack.make("report", COUNT="3", WITHIN="3", code=2)
    finally:
        for network in ("front", "back"):
            stack.run("docker", "network", "connect", f"{stack.project}_{network}", name)
    assert re.search(r"^subscriber-3 +0 +3 +0 +0 +0( |$)", text, re.MULTILINE), text
    assert text.endswith("\nNOT WELL: 3 missing (subscriber-3: 3)\n")
    stack.reach_all("all three again")


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


def test_production_has_a_password_no_ports_small_replicas_and_cheap_healthchecks(prod: Stack) -> None:
    prod.reach_all("in production")
    assert "Well: 5 messages reached all 2 replicas, once and in order." in prod.make("report", COUNT="5")
    ports = prod.run(
        "docker", "ps", "--filter", f"label=com.docker.compose.project={prod.project}", "--format", "{{.Ports}}"
    )
    assert "->" not in ports
    assert "NOAUTH" in prod.compose("exec", "-T", "redis", "redis-cli", "PING")
    name = prod.containers("subscriber")[0]
    status = prod.run("docker", "exec", name, "sh", "-c", "cat /proc/[0-9]*/status")
    largest = max(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    print(f"\nresident memory of a subscriber: {largest / 1024:.1f} MiB")
    assert largest < 45 * 1000
    print(f"a healthcheck costs {_healthcheck_cost(prod, name):.0f} ms of CPU")
    prod.run("docker", "kill", prod.containers("redis")[0])
    prod.run("docker", "start", prod.containers("redis")[0])
    prod.wait_live(2)
    prod.reach_all("still in production")


def _healthcheck_cost(stack: Stack, name: str, times: int = 5) -> float:
    check = json.loads(stack.run("docker", "inspect", "-f", "{{json .Config.Healthcheck.Test}}", name))[1:]
    before = _cpu(stack, name)
    for _ in range(times):
        stack.run("docker", "exec", name, *check)
    return (_cpu(stack, name) - before) / times * 1000


def _cpu(stack: Stack, name: str) -> float:
    """CPU seconds of a container so far, from cgroup v1 or v2."""
    ident = stack.run("docker", "inspect", "-f", "{{.Id}}", name).strip()
    for path in Path("/sys/fs/cgroup").glob(f"**/*{ident}*"):
        if (usage := path / "cpuacct.usage").exists():
            return int(usage.read_text()) / 1e9
        if (stat := path / "cpu.stat").exists():
            return int(stat.read_text().split()[1]) / 1e6
    return 0
