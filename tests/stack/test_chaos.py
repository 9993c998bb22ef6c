import subprocess
from pathlib import Path

from support.waiting import missing

ROOT = Path(__file__).resolve().parents[2]


def test_a_fault_run_loses_nothing_and_doubles_nothing() -> None:
    if subprocess.run(["docker", "version"], capture_output=True, check=False).returncode:
        missing("no container engine in reach")
    command = ["make", "--no-print-directory", "chaos", "FAULTS=6", "SEED=11"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
