"""Changes the number of subscribers.

scale.py N

All subscribers stay alike: new ones get the layers and settings of those that run, whatever this shell and .env say. If
that is not possible (the image, the Compose files or .env have changed), it says so and changes nothing.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from run.child import COMPOSE, Trouble, output
from run.replicas import LABEL, docker, inspect, project

SERVICE = "subscriber"
Container = dict[str, Any]


def label(container: Container, name: str) -> str:
    return str(container["Config"]["Labels"].get(f"{LABEL}.{name}", ""))


def compose(env: Mapping[str, str], *arguments: str) -> str:
    """Run Compose and return what it prints. Raises Trouble if it fails."""
    return output(*COMPOSE, "-p", project(), *arguments, env=env, within=600)


def environment_of(model: Container) -> dict[str, str]:
    """Return this shell's environment, but with the layers and settings that a container was started with.

    Raises:
        Trouble: a file of its layers no longer exists.
    """
    files = label(model, "project.config_files").split(",")
    if gone := [file for file in files if not Path(file).is_file()]:
        raise Trouble(f"it was started with {', '.join(gone)}, which no longer exists")
    env = os.environ | {"COMPOSE_FILE": os.pathsep.join(files)}
    stated = settings(model)
    for name in configured(env):
        if name in stated or label(model, "service") == SERVICE:
            env.pop(name, None)
            if (value := stated.get(name)) is not None:
                env[name] = value
    return env


def settings(container: Container) -> dict[str, str | None]:
    """Return a container's environment; None for variables that Compose knows but that had no value."""
    pairs = (one.partition("=") for one in container["Config"]["Env"])
    return {name: value if equals else None for name, equals, value in pairs}


def configured(env: Mapping[str, str]) -> dict[str, str | None]:
    """Return the environment that Compose would give to a new subscriber."""
    found: dict[str, str | None] = json.loads(compose(env, "config", "--format", "json"))["services"][SERVICE][
        "environment"
    ]
    return found


def check_alike(models: list[Container], env: Mapping[str, str]) -> None:
    """Check that a subscriber that Compose would start now equals those that run.

    Raises:
        Trouble: it does not; the message says what differs.
    """
    hashes = {label(one, "config-hash") for one in models}
    if len(hashes) > 1:
        raise Trouble("the running subscribers differ from one another; make up restarts them all alike")
    if compose(env, "config", "--hash", SERVICE).split()[-1] not in hashes:
        stated = settings(models[0])
        differ = sorted(name for name, value in configured(env).items() if value != stated.get(name))
        what = ", ".join(differ) or "the Compose files have changed"
        raise Trouble(f"a new subscriber would differ from the running ones: {what}; make up restarts them all alike")
    image = docker("image", "inspect", "--format", "{{.Id}}", models[0]["Config"]["Image"], check=False).strip()
    if image not in {one["Image"] for one in models} or len({one["Image"] for one in models}) > 1:
        raise Trouble("the image has been rebuilt since; make up starts all subscribers from it")


def scale(wanted: int) -> None:
    """Start or end subscribers.

    Raises:
        Trouble: it cannot be done.
    """
    models = inspect(SERVICE)
    everything = models or sorted(inspect(), key=lambda one: label(one, "service") != "publisher")
    if not everything:
        raise Trouble("nothing is running; make up starts the stack")
    env = environment_of(everything[0])
    if not models:
        say("no subscriber is running: settings that only subscribers have are taken from this shell and .env")
    elif wanted > len(models):
        check_alike(models, env)
    compose(
        env, "up", "--detach", "--no-recreate", "--no-build", "--no-deps", "--scale", f"{SERVICE}={wanted}", SERVICE
    )


def say(text: str) -> None:
    print(f"scale: {text}", file=sys.stderr)


def main() -> int:
    wanted = sys.argv[1] if len(sys.argv) == 2 else ""
    if not wanted.isascii() or not wanted.isdigit():
        say(f"SUBSCRIBERS is {wanted!r}, but must be a whole number")
        return 2
    try:
        scale(int(wanted))
    except Trouble as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
