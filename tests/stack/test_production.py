"""The stack as it runs in production."""

import json
from pathlib import Path

from support.compose_stack import Stack


def test_production_has_a_password_no_ports_small_replicas_and_cheap_healthchecks(prod: Stack) -> None:
    prod.reach_all("in production")
    assert "OK: 5 messages reached all 2 replicas, once and in order." in prod.make("report", COUNT="5")
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
