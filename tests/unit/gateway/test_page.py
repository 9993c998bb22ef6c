"""The dashboard's modules without a browser: page/*.test.js in Node's own test runner."""

import json
import shutil
import subprocess
from pathlib import Path

from support.waiting import missing

ROOT = Path(__file__).resolve().parents[3]
PAGE, TESTS = Path("services/gateway/gateway/page"), Path("tests/unit/gateway/page")


def test_the_pages_modules_do_what_their_tests_say(tmp_path: Path) -> None:
    node = shutil.which("node")
    if not node:
        missing("no Node.js on PATH")
    # Older versions take a .js file for a module only where a package.json says so, which nothing else here needs.
    (tmp_path / "package.json").write_text(json.dumps({"type": "module"}))
    for folder in (PAGE, TESTS):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    names = sorted(str(TESTS / test.name) for test in (ROOT / TESTS).glob("*.test.js"))
    done = subprocess.run(
        [node, "--test", *names], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(names) > 1
