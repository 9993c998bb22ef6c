import os
import subprocess
import sys
from pathlib import Path

from support.waiting import missing

ROOT = Path(__file__).resolve().parents[2]


def test_every_attack_holds_and_who_means_well_does_not_notice() -> None:
    if subprocess.run(["docker", "version"], capture_output=True, check=False).returncode:
        missing("no container engine in reach")
    command = [sys.executable, "-m", "abuse", "--short"]
    env = os.environ | {"PYTHONPATH": f"{ROOT / 'scripts'}:{ROOT / 'services/fanout'}"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=900, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
