"""scripts/run/dotenv.awk against Compose itself, which needs no engine for this."""

import os
import subprocess
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("A", "B", "SET", "X")
PIECES = [
    *(
        "'",
        '"',
        "\\",
        "\\n",
        "\\t",
        "\\$",
        "$A",
        "${A}",
        "${B:-d}",
        "${B-e}",
        "${A:+p}",
        "${X:-${A}}",
        "$",
        "$$",
        "{",
        "}",
    ),
    *("#", " #", " ", "\t", "val", "é", "-", ".", '\\"', "\\'", "\\0101", "`id`", "$(id)", "1=2", ":", "/"),
]
VALUE = st.lists(st.sampled_from(PIECES), max_size=5).map("".join)
LINE = st.tuples(
    st.sampled_from(["", "export ", " "]),
    st.sampled_from(NAMES),
    st.sampled_from(["=", " = ", ": ", "= "]),
    VALUE,
    st.sampled_from(["\n", "\r\n", " # comment\n"]),
).map("".join)


def environment(folder: str, *command: str | Path) -> dict[str, str] | None:
    env = {"PATH": os.environ["PATH"], "SET": "from the shell", "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, check=False)
    if done.returncode:
        return None
    pairs = (line.partition("=") for line in done.stdout.decode(errors="replace").replace("\0", "\n").splitlines())
    return {name: value for name, _, value in pairs if name in NAMES}


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(LINE, max_size=4).map("".join))
def test_any_file_is_read_as_compose_reads_it(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, ".env").write_bytes(text.encode())
        Path(folder, "compose.yaml").write_text("services: {a: {image: b}}\n")
        script = 'found=$(LC_ALL=C awk -f "$1" .env) || exit 2; eval "$found"; exec env -0'
        ours = environment(folder, "sh", "-c", script, "read", ROOT / "scripts/run/dotenv.awk")
        assert ours == environment(folder, "docker", "compose", "config", "--environment")
