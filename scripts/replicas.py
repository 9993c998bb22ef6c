"""The replicas of the stack that runs, be they containers of Compose or processes of this machine."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

import local

API = "3000"
ENGINE_WITHIN = 60


class Trouble(Exception):
    """Docker cannot be asked, or does not answer."""


@dataclass(frozen=True)
class Replica:
    """One replica. `name` is short, `subscriber-2`; `ident` is the container's ID, empty for a process.

    `state`: `running`, or in a few words why not. `started`: when a container was, as Docker says it.
    `settings`: its environment, as far as it is known. `api`: the address of the HTTP API, if this machine reaches it.
    """

    name: str
    service: str
    state: str = "running"
    ident: str = ""
    started: str = ""
    settings: Mapping[str, str] | None = None
    api: str | None = None

    @property
    def running(self) -> bool:
        return self.state == "running"

    def setting(self, name: str) -> str:
        return (self.settings or {}).get(name, "").strip()


def project() -> str:
    """The Compose project's name."""
    return os.environ.get("COMPOSE_PROJECT_NAME") or "fanout"


def docker(*arguments: str, check: bool = True) -> str:
    """A Docker command's output.

    Raises:
        Trouble: there is no Docker, it fails (unless `check` is off), or it hangs.
    """
    try:
        done = subprocess.run(
            ["docker", *arguments],
            capture_output=True,
            text=True,
            errors="backslashreplace",
            timeout=ENGINE_WITHIN,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except FileNotFoundError:
        raise Trouble("there is no Docker, and no stack without it; make up starts one") from None
    except subprocess.TimeoutExpired:
        raise Trouble(f"docker {arguments[0]} does not end within {ENGINE_WITHIN} s") from None
    if check and done.returncode:
        raise Trouble(f"docker {arguments[0]}: {' '.join(done.stderr.split()) or done.returncode}")
    return done.stdout


def containers() -> list[Replica]:
    """The containers of the Compose project, whatever layers it was started with, also those that do not run.

    Raises:
        Trouble: Docker does not say.
    """
    labels = [f"com.docker.compose.project={project()}", "com.docker.compose.oneoff=False"]
    idents = docker("ps", "-aq", "--no-trunc", *(word for label in labels for word in ("--filter", f"label={label}")))
    # One that is removed at this moment makes an error, and the others are listed all the same.
    found = docker("inspect", "--type", "container", *idents.split(), check=False) if idents else "[]"
    return sorted(map(_container, json.loads(found or "[]")), key=_order)


def service_of(name: str) -> str:
    """The service of a replica."""
    return name.rpartition("-")[0] or name


def _order(one: Replica) -> tuple[str, int, str]:
    return one.service, len(one.name), one.name


def _container(found: Mapping[str, Any]) -> Replica:
    config, state = found["Config"], found["State"]
    labels = config["Labels"]
    service = labels["com.docker.compose.service"]
    settings = dict(one.partition("=")[::2] for one in config["Env"] or [])
    words = f"exited with code {state['ExitCode']}" if state["Status"] == "exited" else state["Status"]
    port = f"{settings.get('HTTP_PORT') or API}/tcp"
    published = ((found["NetworkSettings"].get("Ports") or {}).get(port) or [None])[0]
    return Replica(
        name=f"{service}-{labels['com.docker.compose.container-number']}",
        service=service,
        state=words,
        ident=found["Id"],
        started=state["StartedAt"],
        settings=settings,
        api=_address(published["HostIp"], published["HostPort"]) if published else None,
    )


def _address(host: str, port: str) -> str:
    if not host or host == str(IPv4Address(0)):
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def processes() -> list[Replica]:
    """The processes of the stack without containers; none if it does not run."""
    found = local.state() or {}
    names: Any = found.get("processes", {})
    settings: Any = found.get("settings", {})
    http: Any = found.get("http", {})
    all_of_them = (Replica(name, service_of(name), settings=settings, api=http.get(name)) for name in names)
    return sorted(all_of_them, key=_order)


def replicas() -> list[Replica]:
    """Those of the stack that runs: the one without containers if there is one, else the project's containers.

    Raises:
        Trouble: Docker does not say.
    """
    return processes() or containers()
