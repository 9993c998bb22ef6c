"""How much memory the process may take."""

from pathlib import Path

import pytest

from fanout.service import memory_limit


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"memory.max": "402653184\n"}, 402653184),
        ({"memory.max": "max\n"}, None),
        ({"memory.max": "402653184", "a/b/memory.max": "100000000", "a/memory.max": "200000000"}, 100000000),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ({"memory/memory.limit_in_bytes": "300000000\n"}, 300000000),
        ({}, None),
    ],
)
def test_the_memory_limit_is_the_least_of_the_cgroups(tmp_path: Path, files: dict[str, str], limit: int | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "own").write_text("0::/a/b\n")
    found = memory_limit.memory_limit(tmp_path, tmp_path / "own")
    assert found == (limit or min(memory_limit.UNLIMITED, found))
