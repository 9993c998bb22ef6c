"""The options of `make logs`, read from the environment."""

from typing import NamedTuple

from fanout.environment import Environment
from fanout.errors import SettingError
from logs.view import LEVELS, Filter
from run.replicas import Replica

AN_EVENT = "names of events, or globs, separated by commas"


class Options(NamedTuple):
    """The options; `tail` is how many past lines of each replica to show, None for all."""

    filter: Filter
    raw: bool
    tail: int | None
    follow: bool


def read_options(env: Environment, replicas: list[Replica]) -> Options:
    """Read the options; `replicas` are those of the stack, none if they are unknown.

    Raises:
        SettingError: a value is invalid, or a service does not exist.
    """
    services = _names(env, "SERVICE", "services or replicas, separated by commas")
    known = sorted({one.service for one in replicas})
    for service in services if replicas else ():
        if not any(Filter(services=(service,)).of(one.name) for one in replicas):
            raise SettingError("SERVICE", service, f"one of {', '.join(known)}, or a replica such as {known[0]}-1")
    level = env.text("LEVEL", "debug").lower()
    if level not in LEVELS:
        raise SettingError("LEVEL", env.text("LEVEL"), "one of " + ", ".join(LEVELS))
    everything = env.text("TAIL") == "all"
    return Options(
        Filter(services, level, _names(env, "EVENT", AN_EVENT), env.channels("CHANNEL")),
        raw=env.choice("RAW", "0", "0", "1") == "1",
        tail=None if everything else env.integer("TAIL", 100, 0, 10**9),
        follow=env.choice("FOLLOW", "1", "0", "1") == "1",
    )


def _names(env: Environment, name: str, allowed: str) -> tuple[str, ...]:
    value = env.text(name)
    names = tuple(part.strip() for part in value.split(",") if part.strip())
    if value and not names:
        raise SettingError(name, value, allowed)
    return names
