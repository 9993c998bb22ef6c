"""The scripts read .env as Compose does. The right answers here are Compose's; tests/stack asks it about more."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]


def read(folder: Path, text: bytes, **env: str) -> dict[str, str]:
    """What a script that sources lib.sh has in its environment."""
    (folder / ".env").write_bytes(text)
    (folder / "scripts/run").mkdir(parents=True, exist_ok=True)
    (folder / "scripts/run/dotenv.awk").write_bytes((ROOT / "scripts/run/dotenv.awk").read_bytes())
    script = 'root=$1; . "$2/scripts/run/lib.sh"; exec env -0'
    done = subprocess.run(
        ["sh", "-euc", script, "read", folder, ROOT], env={"PATH": os.environ["PATH"], **env}, capture_output=True, check=False
    )  # fmt: skip
    if done.returncode:
        raise ValueError(done.stderr.decode())
    return dict(one.partition("=")[::2] for one in done.stdout.decode().split("\0") if one)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"X=debug", "debug"),
        (b"X=debug\r\n", "debug"),
        (b'X="debug"\r\n', "debug"),
        (b"X='debug'", "debug"),
        (b"export X=debug", "debug"),
        (b"X = debug ", "debug"),
        (b"X: debug", "debug"),
        (b"X=debug # or info", "debug"),
        (b"X=de#bug", "de#bug"),
        (b'X="de #bug" # or info', "de #bug"),
        (b"X=a b", "a b"),
        (b"X=1=2", "1=2"),
        (b'X="a\\nb"', "a\nb"),
        (b"X='a\\nb'", "a\\nb"),
        (b'X="a\nb"', "a\nb"),
        (b"X='$Y ${Y}'", "$Y ${Y}"),
        (b"Y=why\nX=$Y-${Y}-${Z:-zed}-${Y:+set}-$$Y", "why-why-zed-set-$Y"),
        (b"X=${HERE} $HERE", "here here"),
        (b'X="say \\"hi\\" for \\$5"', 'say "hi" for $5'),
        (b"X=it's", "it's"),
        (b"\xef\xbb\xbfX=mark", "mark"),
        (b"# X=no\n\n  X=yes", "yes"),
        (b"X=$(touch /tmp/never)`id`;id", "$(touch /tmp/never)`id`;id"),
        (b"X=", ""),
        (b"X=first\nX=last", "last"),
        ("X=grün".encode(), "grün"),
    ],
)
def test_a_value_is_what_compose_makes_of_it(tmp_path: Path, text: bytes, value: str) -> None:
    assert read(tmp_path, text, HERE="here")["X"] == value


def test_the_environment_wins_even_if_it_is_empty(tmp_path: Path) -> None:
    found = read(tmp_path, b"X=file\nY=$X\nZ=file", X="shell", Z="")
    assert (found["X"], found["Y"], found["Z"]) == ("shell", "shell", "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"X='no end", "a quoted value does not end"),
        (b"a b=1", "a variable's name contains a space"),
        (b"X=${Y:?give one}", "Y is missing: give one"),
        (b"<<<<<<< HEAD", "unexpected character <"),
    ],
)
def test_what_compose_refuses_is_refused_in_one_line(tmp_path: Path, text: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says) as raised:
        read(tmp_path, text)
    assert str(raised.value).count("\n") == 1
