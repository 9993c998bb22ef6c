"""The password of the layer prod is changed as compose/README.md says."""

import re
import subprocess

from support.compose_stack import ROOT, Stack


def test_a_new_password_costs_no_message_and_no_restart_of_a_service(prod: Stack) -> None:
    services = prod.containers("subscriber") + prod.containers("publisher")
    prod.reach_all("with the old one")
    text = (ROOT / "compose/README.md").read_text().split("## A new password for Redis")[1]
    (commands,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    before = (ROOT / "compose/secrets/redis_password").read_bytes()
    subprocess.run(["sh", "-euc", commands], cwd=ROOT, env=prod.env, capture_output=True, check=True, timeout=60)
    assert (ROOT / "compose/secrets/redis_password").read_bytes() != before
    prod.wait_live(2)
    prod.reach_all("with the new one")
    for name in services:
        assert prod.run("docker", "inspect", "-f", "{{.RestartCount}} {{.State.Running}}", name).strip() == "0 true"
    assert "NOAUTH" in prod.compose("exec", "-T", "redis", "redis-cli", "PING")
