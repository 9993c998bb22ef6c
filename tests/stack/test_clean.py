"""`make clean` in a copy of the project, with images of its own that look like stand-ins."""

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.compose_stack import ROOT
from support.waiting import missing

NAME = f"fanout-clean-{os.getpid()}"
STAND_IN, CHILD, TAKEN, OTHER = f"{NAME}/python:1", f"{NAME}/mine:1", f"{NAME}/redis:1", f"{NAME}/python:other"
BUILT, ANOTHER_VERSION = f"{NAME}/publisher:2", f"{NAME}/publisher:1"


def docker(*arguments: str, stdin: bytes = b"", check: bool = True) -> str:
    return subprocess.run(["docker", *arguments], input=stdin, capture_output=True, check=check).stdout.decode()


def image(name: str) -> bool:
    return bool(docker("image", "ls", "-q", name))


def make(folder: Path, *arguments: str) -> str:
    env = os.environ | {"COMPOSE_PROJECT_NAME": NAME}
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Path]:
    """The project with a stand-in, a child of it, a child under a stand-in's name, a volume, and a secret."""
    if subprocess.run(["docker", "version"], capture_output=True, check=False).returncode:
        missing("no container engine in reach")
    for part in ("Makefile", "scripts", "compose", "docker"):
        (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, tmp_path / part)
    (tmp_path / ".env").write_text(
        f"COMPOSE_FILE=compose/base.yaml\nPYTHON_IMAGE={STAND_IN}\nREDIS_IMAGE={TAKEN}\nPROMETHEUS_IMAGE={NAME}/none:1\n"
        f"IMAGE_PREFIX={NAME}/\nIMAGE_TAG=2\n"
    )
    (tmp_path / "compose/secrets").mkdir(exist_ok=True)
    (tmp_path / "compose/secrets/redis_password").write_text("secret")
    (tmp_path / ".run").mkdir()
    tar = io.BytesIO()
    tarfile.open(fileobj=tar, mode="w").close()
    docker("import", "--change", "LABEL org.fanout.stand-in=test", "-", STAND_IN, stdin=tar.getvalue())
    docker("tag", STAND_IN, OTHER)
    for child in (CHILD, TAKEN, BUILT, ANOTHER_VERSION):
        docker("build", "-t", child, "-", stdin=f"FROM {STAND_IN}\nENV OF={child}\n".encode())
    docker("volume", "create", "--label", f"com.docker.compose.project={NAME}", f"{NAME}_redis-data")
    yield tmp_path
    docker("volume", "rm", "-f", f"{NAME}_redis-data", check=False)
    docker("rmi", "-f", STAND_IN, CHILD, TAKEN, OTHER, BUILT, ANOTHER_VERSION, check=False)


def test_clean_says_what_goes_and_takes_only_what_is_fanouts(copy: Path) -> None:
    said = make(copy, "clean")
    for what in (
        f"volume {NAME}_redis-data",
        f"the images: {BUILT} {STAND_IN}\n",
        f"{copy}/.run",
        "compose/secrets is kept",
    ):
        assert what in said
    assert not image(BUILT)
    assert not image(STAND_IN)
    assert all(map(image, (CHILD, TAKEN, OTHER, ANOTHER_VERSION)))
    assert NAME not in docker("volume", "ls")
    assert not (copy / ".run").exists()
    assert (copy / "compose/secrets/redis_password").read_text() == "secret"
    assert "compose/secrets" in make(copy, "clean", "SECRETS=1")
    assert not (copy / "compose/secrets").exists()
