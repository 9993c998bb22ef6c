"""Lists the replicas of the running stack, whether they are Compose containers or processes of this machine."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from run import folder
from run.child import Trouble, output

API = "3000"
LABEL = "com.docker.compose"


@dataclass(frozen=True)
class Replica:
    """One replica.

    Attributes:
        name: the short name, such as `subscriber-2`.
        service: its service.
        state: `running`, or a few words that say why not.
        ident: the container's ID; empty for a process.
        started: when the container was started, as Docker prints it.
        settings: its environment, as far as it is known.
        api: the address of its HTTP API, if this machine reaches it.
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
    """Return the Compose project's name."""
    return os.environ.get("COMPOSE_PROJECT_NAME") or "fanout"


def docker(*arguments: str, check: bool = True) -> str:
    """Run a Docker command and return its output.

    Raises:
        Trouble: Docker is not installed, the command fails (unless `check` is off), or it hangs.
    """
    if not shutil.which("docker"):
        raise Trouble("Docker is not installed, and no stack without it is running; make up starts one")
    return output("docker", *arguments, check=check)


def inspect(service: str = "") -> list[dict[str, Any]]:
    """Return Docker's description of the project's containers, or of a service's, whatever layers they are from.

    Raises:
        Trouble: Docker does not answer.
    """
    labels = [f"{LABEL}.project={project()}", f"{LABEL}.oneoff=False", *[f"{LABEL}.service={service}"] * bool(service)]
    idents = docker("ps", "-aq", "--no-trunc", *(word for label in labels for word in ("--filter", f"label={label}")))
    # A container that is removed at this moment causes an error, but the others are still listed.
    found: list[dict[str, Any]] = json.loads(
        (docker("inspect", "--type", "container", *idents.split(), check=False) if idents else "") or "[]"
    )
    return found


def containers() -> list[Replica]:
    """Return the containers of the Compose project, even stopped ones. Raises Trouble if Docker does not answer."""
    return sorted(map(_container, inspect()), key=_order)


def short(container: str, of: str = "") -> str:
    """Return the replica's name for a container's name."""
    return container.removeprefix(f"{of or project()}-")


def service_of(name: str) -> str:
    """Return the service of a replica."""
    return name.rpartition("-")[0] or name


def _order(one: Replica) -> tuple[str, int, str]:
    return one.service, len(one.name), one.name


def _container(found: Mapping[str, Any]) -> Replica:
    config, state = found["Config"], found["State"]
    labels = config["Labels"]
    service = labels[f"{LABEL}.service"]
    settings = dict(one.partition("=")[::2] for one in config["Env"] or [])
    words = f"exited with code {state['ExitCode']}" if state["Status"] == "exited" else state["Status"]
    port = f"{settings.get('HTTP_PORT') or API}/tcp"
    published = ((found["NetworkSettings"].get("Ports") or {}).get(port) or [None])[0]
    return Replica(
        name=f"{service}-{labels[f'{LABEL}.container-number']}",
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
    """Return the processes of the stack without containers; none if it is not running."""
    found = folder.state()
    settings, http = found.get("settings"), found.get("http", {})
    all_of_them = (Replica(n, service_of(n), settings=settings, api=http.get(n)) for n in found.get("processes", ()))
    return sorted(all_of_them, key=_order)


def replicas() -> list[Replica]:
    """Return the replicas of the running stack: the one without containers if it runs, else the project's containers.

    Raises:
        Trouble: Docker does not answer.
    """
    return processes() or containers()
