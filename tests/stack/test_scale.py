"""`make scale` adds subscribers that are like those that run, or none."""

import json
from collections.abc import Iterator

import pytest

from support.compose_stack import Stack, running

OTHER_SHELL = {"LAYERS": "prod", "COMPOSE_FILE": "compose/base.yaml", "HANDLER": "no.such:one", "LOG_MESSAGES": "none"}


@pytest.fixture
def small() -> Iterator[Stack]:
    yield from running("dev", 1, "small", HANDLER="handlers.example:handle")


def alike(stack: Stack) -> bool:
    """Whether all subscribers were made from one configuration and one image."""
    found = json.loads(stack.run("docker", "inspect", *stack.containers("subscriber")))
    return all(
        (one["Image"], set(one["Config"]["Env"])) == (found[0]["Image"], set(found[0]["Config"]["Env"]))
        for one in found
    )


def test_scale_takes_layers_and_settings_from_what_runs_or_refuses(small: Stack) -> None:
    stack = small
    stack.make("scale", SUBSCRIBERS="3", **OTHER_SHELL)
    stack.wait_live()
    assert len(stack.containers("subscriber")) == 3
    assert alike(stack)
    stack.reach_all("to all alike")

    image = f"{stack.project}-subscriber"
    ours = stack.run("docker", "image", "inspect", "-f", "{{.Id}}", image).strip()
    stack.run("docker", "tag", f"{stack.project}-publisher", image)
    try:
        assert "the image has been rebuilt" in stack.said("scale", SUBSCRIBERS="4", code=2)
        stack.make("scale", SUBSCRIBERS="2", **OTHER_SHELL)  # to fewer is always possible
    finally:
        stack.run("docker", "tag", ours, image)
    assert len(stack.containers("subscriber")) == 2

    more = ["up", "--detach", "--no-deps", "--no-recreate", "--scale", "subscriber=3", "subscriber"]
    stack.compose(*more, LOG_MESSAGES="none")
    assert "differ from one another" in stack.said("scale", SUBSCRIBERS="4", code=2)
    assert len(stack.containers("subscriber")) == 3
    assert "must be a whole number" in stack.said("scale", SUBSCRIBERS="-1", code=2)

    stack.make("scale", SUBSCRIBERS="0")
    assert "no subscriber is running: settings that only subscribers have" in stack.said("scale", SUBSCRIBERS="2")
    assert len(stack.containers("subscriber")) == 2


def test_make_up_says_which_settings_do_not_reach_the_containers(small: Stack) -> None:
    said = small.said("up", HTTP_PORT="4000", REDIS_PASSWORD_FILE="/some/file", INSTANCE="mine")
    for name in ("HTTP_PORT", "REDIS_PASSWORD_FILE", "INSTANCE"):
        assert f"{name} is set, but has no effect here" in said
    assert "HEARTBEAT_FILE" not in said
