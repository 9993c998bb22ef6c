"""make keys and make token, and what make up says where there are no keys."""

import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fanout.service.login.grant import Grant
from fanout.service.login.key_file import FileKeys
from fanout.service.login.tokens import Verifier

ROOT = Path(__file__).resolve().parents[4]


def login(folder: Path, command: str, code: int = 0, **settings: str) -> tuple[str, str]:
    path = f"{ROOT / 'scripts'}{os.pathsep}{ROOT / 'services/fanout'}"
    ran = subprocess.run(
        [sys.executable, "-m", "login", command, "--folder", str(folder)],
        env={"PYTHONPATH": path} | settings, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ran.returncode == code, ran.stderr
    return ran.stdout, ran.stderr


async def granted(folder: Path, token: str, issuer: str = "", audience: str = "") -> Grant:
    return await Verifier(FileKeys(folder / "auth_public.pem"), issuer, audience).verify(token)


def test_keys_are_created_once(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    out, _ = login(folder, "keys")
    private, public = folder / "auth_private.pem", folder / "auth_public.pem"
    assert out.count("fanout: created") == 2
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, private, public)] == [0o700, 0o600, 0o644]
    before = private.read_bytes(), public.read_bytes()
    out, _ = login(folder, "keys")
    assert "left as they are" in out
    assert (private.read_bytes(), public.read_bytes()) == before
    public.unlink()
    login(folder, "keys")
    assert (private.read_bytes(), public.read_bytes()) == before


def test_a_public_key_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "auth_public.pem").write_text("theirs")
    _, said = login(tmp_path, "keys", code=1)
    assert "is there already, and its private key is not" in said
    assert [path.name for path in tmp_path.iterdir()] == ["auth_public.pem"]


async def test_a_token_permits_what_was_asked_for(tmp_path: Path) -> None:
    login(tmp_path, "keys")
    out, said = login(tmp_path, "token", SUB="ann", SUBSCRIBE="user:{sub}, news", PUBLISH="chat*", EXP="5m")
    assert (out.count("\n"), said) == (1, "")
    grant = await granted(tmp_path, out.strip())
    assert grant.subject == "ann"
    assert [grant.may_subscribe(name) for name in ("user:ann", "news", "user:bob")] == [True, True, False]
    assert grant.publish.match("chat-1")
    assert not grant.dashboard
    assert grant.expires == pytest.approx(time.time() + 300, abs=30)
    out, _ = login(tmp_path, "token", DASHBOARD="1", AUTH_ISSUER="us", AUTH_AUDIENCE="here")
    assert (await granted(tmp_path, out.strip(), "us", "here")).dashboard


@pytest.mark.parametrize(
    ("settings", "code", "says"),
    [
        ({}, 1, "make keys creates it"),
        ({"EXP": "soon"}, 2, "EXP is 'soon', but must be a duration"),
        ({"EXP": "0"}, 2, "EXP is '0'"),
        ({"SUBSCRIBE": "user:{sub}"}, 2, "SUB must say whose token it is"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, settings: dict[str, str], code: int, says: str) -> None:
    out, said = login(tmp_path, "token", code=code, **settings)
    assert out == ""
    assert said.count("\n") == 1
    assert says in said


@pytest.mark.parametrize("layers", ["prod", "prod gateway", "dev gateway login"])
def test_make_up_without_keys_says_in_one_line_what_to_do(tmp_path: Path, layers: str) -> None:
    for part in ("scripts/run", "compose"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("secrets", "__pycache__"))
    shutil.copy(ROOT / ".env", tmp_path)
    ran = subprocess.run(
        ["scripts/run/up"], cwd=tmp_path, env={"PATH": os.environ["PATH"], "LAYERS": layers},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1), ran.stderr
    assert "make keys" in ran.stderr
    assert "AUTH=off" in ran.stderr
