"""Operators' mistakes, and what operators must be able to do while the service runs."""

import time

from abuse.attack import Attack, Target, check
from run import ROOT

PASSWORD = "s3cr3t-7531"  # noqa: S105 # used nowhere else
TMP = ("--tmpfs", "/tmp")  # noqa: S108 # the container's own
SECRETS = {
    "an empty file": b"",
    "a line break alone": b"\n",
    "blanks": b"  \n",
    "two lines": b"one\ntwo\n",
    "a NUL": b"a\0b",
    "an escape": b"a\x1b[2Jb",
}
URLS = (
    f"redis://:{PASSWORD}@host:notaport/0",
    f"redis://:{PASSWORD}@host:6379/notadb",
    f"http://:{PASSWORD}@host/0",
    f"redis://:{PASSWORD}/x@host:6379/0",
    f"redis://user:{PASSWORD}@[::1/0",
    f"redis://host:6379/0?password={PASSWORD}&nosuch=1",
    f"//:{PASSWORD}@host",
)


def bad_secrets(target: Target) -> str:
    """Use files that hold no password: neither Redis nor a service may start with one."""
    stack = target.stack
    [redis], [publisher] = stack.of("redis"), stack.of("publisher")
    images = [stack.docker("inspect", "--format", "{{.Config.Image}}", name).strip() for name in (redis, publisher)]
    folder = stack.secret.parent
    tries = [
        (images[0], "/", ["sh", "/with-password.sh", "/redis.conf"]),
        (images[1], "/app", ["env", "REDIS_URL=redis://127.0.0.1:1/0", "python", "-m", "publisher"]),
    ]
    kinds = list(SECRETS.items())[: target.some(len(SECRETS), 1)]
    for what, content in kinds:
        file = folder / "bad"
        file.write_bytes(content)
        file.chmod(0o444)
        for image, where, command in tries:
            code, said = _one_off(target, image, where, file, command)
            check(code == 2, f"{command[-1]} ends with {code} at {what}: {said[-200:]}")
    return f"{len(kinds)} kinds: neither Redis nor a service starts"


def _one_off(target: Target, image: str, where: str, secret: object, command: list[str]) -> tuple[int, str]:
    """Run a command with that file as its password, for at most 10 s; return its exit code and output."""
    conf, script = ROOT / "docker/redis/redis.conf", ROOT / "docker/redis/with-password.sh"
    mounts = [f"{secret}:/secret:ro", f"{conf}:/redis.conf:ro", f"{script}:/with-password.sh:ro"]
    options = [word for mount in mounts for word in ("--volume", mount)]
    options += ["--env", "REDIS_PASSWORD_FILE=/secret", "--workdir", where, "--network", "none", *TMP]
    words = [*command, "/secret"] if command[0] == "sh" else command
    shell = 'timeout 10 "$@" 2>&1; echo "exit $?"'
    said = target.stack.docker(
        "run", "--rm", *options, "--entrypoint", "sh", image, "-c", shell, "sh", *words
    )  # fmt: skip
    text, _, code = said.rstrip().rpartition("exit ")
    return int(code), text


def urls(target: Target) -> str:
    """Use malformed addresses of Redis that contain a password: no log may show it."""
    [publisher] = target.stack.of("publisher")
    image = target.stack.docker("inspect", "--format", "{{.Config.Image}}", publisher).strip()
    shell = 'for url in "$@"; do REDIS_URL=$url timeout 10 python -m publisher 2>&1; echo "exit $?"; done'
    forms = URLS[: target.some(len(URLS), 3)]
    said = target.stack.docker(
        "run", "--rm", "--network", "none", *TMP, "--entrypoint", "sh", image, "-c", shell, "sh", *forms
    )  # fmt: skip
    check(PASSWORD not in said, "the log shows the password")
    codes = [line for line in said.splitlines() if line.startswith("exit ")]
    check(codes == ["exit 2"] * len(forms), f"they end with {codes}")
    return f"{len(forms)} forms: exit code 2, and no password"


def rotation(target: Target) -> str:
    """Change the password to one with characters that shells and Redis's configuration treat specially."""
    stack = target.stack
    password = "a\"b\\c $d 'e' #f %g"  # noqa: S105
    stack.write_password(password)
    began = time.time()
    stack.restart("redis")
    stack.until(lambda: stack.flows(began), "messages reach every subscriber with the new password")
    took = time.time() - began
    for service in ("redis", "publisher", "subscriber", "gateway"):
        for container in stack.of(service):
            check(password not in stack.logs_since(container, 0), f"{stack.short(container)} logs the password")
    return f"messages flow again after {took:.1f} s, and no log shows it"


def full(target: Target) -> str:
    """Fill Redis: no accepted message may be lost, and the runbook must help."""
    stack, client = target.stack, target.stack.redis_client()
    usual = client.config_get("maxmemory")["maxmemory"]
    client.config_set("maxmemory", client.info("memory")["used_memory"])
    began = time.time()
    try:
        stack.until(
            lambda: _refused(stack.logs_since(stack.publishers[0], began)), "the publisher says that Redis is full"
        )
        stack.clean_up()
    finally:
        client.config_set("maxmemory", usual)
    over = time.time()
    stack.until(lambda: stack.flows(over), "messages reach every subscriber")
    return f"messages flow {time.time() - over:.1f} s after there is room"


def _refused(log: str) -> bool:
    return "maxmemory" in log or "OOM" in log


ATTACKS = (
    Attack("files that hold no password", bad_secrets),
    Attack("addresses that cannot be read", urls),
    Attack("Redis is full", full, outage=True),
    Attack("a new password", rotation, outage=True),
)
