"""What `make logs` and `make report` say of the stack."""

import json
import re
import subprocess
from pathlib import Path

from support.compose_stack import Stack
from support.followed import Followed
from support.waiting import eventually

HERE = Path(__file__).parent


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
        assert re.search(rf"^subscriber-{n} +20 +0 +0 +0 +0 +0( +[\d.,]+){{4}}$", text, re.MULTILINE), text
    assert text.endswith("\nOK: 20 messages reached all 3 replicas, once and in order.\n")

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
    assert (killed["note"], killed["ok"]) == ("restarted", True)
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
    assert text.endswith("\nFAILED: 3 missing (subscriber-3: 3)\n")
    stack.reach_all("all three again")
