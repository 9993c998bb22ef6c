"""Where base images come from: a registry that answers is waited for, whatever it says and however slow it is."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from run.loopback import free_port
from support.compose_stack import ROOT
from support.waiting import missing

SLOW = 12.0


def layer() -> bytes:
    tar = io.BytesIO()
    tarfile.open(fileobj=tar, mode="w").close()
    return tar.getvalue()


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


TAR = layer()
LAYER = gzip.compress(TAR)
CONFIG = json.dumps(
    {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [digest(TAR)]}}
).encode()
TYPE = "application/vnd.docker.distribution.manifest.v2+json"
MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": TYPE,
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": len(CONFIG),
            "digest": digest(CONFIG),
        },
        "layers": [
            {
                "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                "size": len(LAYER),
                "digest": digest(LAYER),
            }
        ],
    }
).encode()


class Registry(BaseHTTPRequestHandler):
    """An image `slow:1`, whose layer takes its time; it knows no other."""

    def do_GET(self) -> None:
        if self.path == "/v2/":
            self.answer(200, b"{}")
        elif self.path.startswith("/v2/slow/manifests/"):
            self.answer(200, MANIFEST, TYPE)
        elif self.path.endswith(digest(CONFIG)):
            self.answer(200, CONFIG)
        elif self.path.endswith(digest(LAYER)):
            time.sleep(SLOW)
            self.answer(200, LAYER)
        else:
            self.answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}')

    def do_HEAD(self) -> None:
        self.do_GET()

    def answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Docker-Content-Digest", digest(body))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def registry() -> Iterator[str]:
    if subprocess.run(["docker", "version"], capture_output=True, check=False).returncode:
        missing("no container engine in reach")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def fetch(image: str) -> tuple[int, str]:
    """The result of fetch_images for one image, and the reason."""
    script = 'root=.; . scripts/run/lib.sh; base_images() { echo python; }; PYTHON_IMAGE=$1; why=; fetch_images && s=0 || s=$?; echo "$s$why"'
    done = subprocess.run(
        ["sh", "-euc", script, "fetch", image], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    return int(done.stdout[0]), done.stdout[1:].strip()


def test_a_download_takes_as_long_as_it_takes(registry: str) -> None:
    image = f"{registry}/slow:1"
    began = time.monotonic()
    try:
        assert fetch(image) == (0, "")
        assert time.monotonic() - began > SLOW
    finally:
        subprocess.run(["docker", "rmi", image], capture_output=True, check=False)


def test_no_stand_in_is_built_while_a_registry_answers(registry: str) -> None:
    result, why = fetch(f"{registry}/unknown:1")
    assert result == 2
    assert "the registry refuses the image" in why
    assert "manifest" in why
    up = subprocess.run(
        ["scripts/run/up"], cwd=ROOT, env=os.environ | {"PYTHON_IMAGE": f"{registry}/unknown:1", "DETACH": "1"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert up.returncode == 1
    assert up.stderr.splitlines()[-1] == f"fanout: {why}"


def test_a_registry_that_does_not_answer_is_out_of_reach() -> None:
    result, why = fetch(f"127.0.0.1:{free_port(0)}/any:1")
    assert result == 1
    assert "connection refused" in why
