"""Finds the replica's name: the one that Compose gave it, which outlives its container."""

import socket
from pathlib import Path

DOCKER_DNS = "127.0.0.11"


def replica_name(service: str) -> str:
    """Return a name such as `fanout-subscriber-2` in a Compose container, else the service's name and the host's."""
    return _name_from_docker() or f"{service}-{socket.gethostname()}"


def _name_from_docker() -> str | None:
    """Ask Docker's DNS for the name of the container's address, such as `fanout-subscriber-2.fanout_back`.

    gethostbyaddr would answer with the container's random ID from /etc/hosts.
    """
    try:
        if f"nameserver {DOCKER_DNS}" not in Path("/etc/resolv.conf").read_text():
            return None
    except OSError:
        return None
    # Imported here, since only containers need it.
    import dns.exception
    import dns.message
    import dns.query
    import dns.reversename

    try:
        address = socket.gethostbyname(socket.gethostname())
        question = dns.message.make_query(dns.reversename.from_address(address), "PTR")
        answer = dns.query.udp(question, DOCKER_DNS, timeout=1)
        return str(answer.answer[0][0]).split(".", 1)[0] if answer.answer else None
    except (OSError, dns.exception.DNSException):
        return None
