"""The browser client, fanout.js, without a browser."""

import gzip
import shutil
import subprocess
from pathlib import Path

from support.waiting import missing

MODULE = Path(__file__).resolve().parents[3] / "services/gateway/gateway/fanout.js"


def test_it_is_less_than_6_kb_on_its_way() -> None:
    assert len(gzip.compress(MODULE.read_bytes(), 6)) < 6 * 1024


def test_its_types_fit(tmp_path: Path) -> None:
    tsc = shutil.which("tsc")
    if not tsc:
        missing("no tsc on PATH (Debian: apt-get install node-typescript)")
    options = ["--noEmit", "--allowJs", "--checkJs", "--target", "es2022", "--module", "esnext"]
    options += ["--lib", "es2022,dom,dom.iterable"]
    command = [tsc, *options, str(MODULE)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
