"""What the containers' healthchecks look at, and that what ends by a fault is started again."""

import json
import urllib.request

from support.compose_stack import Stack
from support.waiting import eventually

KILL = 'for one in /proc/[0-9]*; do if grep -q "^PPid:.1$" "$one/status"; then kill -9 "${one#/proc/}"; fi; done'
"""Kills the container's main process, which is the child of its init."""


def state(stack: Stack, name: str) -> dict[str, object]:
    return json.loads(stack.run("docker", "inspect", "-f", "{{json .State}}", name))


def test_a_container_whose_port_does_not_answer_is_not_healthy(stack: Stack) -> None:
    name = stack.containers("publisher")[0]
    check = json.loads(stack.run("docker", "inspect", "-f", "{{json .Config.Healthcheck.Test}}", name))[1:]
    stack.run("docker", "exec", name, *check)
    stack.run("docker", "exec", "-e", "HTTP_PORT=3001", name, *check, code=1)  # where nobody listens


def test_a_service_that_crashes_is_started_again(stack: Stack) -> None:
    for service in ("subscriber", "publisher", "redis"):
        name = stack.containers(service)[0]
        before = state(stack, name)["StartedAt"]
        # Its own kill of itself: what `docker kill` ends stays down.
        stack.run("docker", "exec", "--detach", name, "sh", "-c", KILL)
        eventually(lambda n=name, b=before: state(stack, n)["Running"] and state(stack, n)["StartedAt"] != b, 30)
    stack.wait_live()
    stack.reach_all("after three crashes")


def test_many_files_may_be_open(stack: Stack) -> None:
    for service in ("subscriber", "publisher", "redis"):
        assert int(stack.run("docker", "exec", stack.containers(service)[0], "sh", "-c", "ulimit -n")) == 16384


def test_prometheus_answers_no_page_of_another_origin(metrics: Stack) -> None:
    url = f"http://127.0.0.1:{metrics.prometheus_port}/api/v1/query?query=up"
    request = urllib.request.Request(url, headers={"Origin": "https://evil.example"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert not answer.headers.get("Access-Control-Allow-Origin")
