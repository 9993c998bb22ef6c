"""A log file that is turned over while it is read."""

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

import pytest

from logs.sources import LogFile


def test_no_line_is_missed_or_read_twice_when_the_file_is_turned_over(tmp_path: Path) -> None:
    path = tmp_path / "log"
    handler = RotatingFileHandler(path, maxBytes=1000, backupCount=3)
    file = LogFile(path)
    read: list[tuple[str, str]] = []
    for n in range(300):
        handler.emit(logging.makeLogRecord({"msg": f"subscriber-{n % 3}  | line {n} | x"}))
        if n % 7 == 0:
            read += file.read()
    read += file.read()
    assert read == [(f"subscriber-{n % 3}", f"line {n} | x") for n in range(300)]
    assert (tmp_path / "log.3").exists()
    handler.close()
    file.close()


def test_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"a-1 | old\n")
    file = LogFile(path, at_end=True)
    with path.open("ab", buffering=0) as out:
        out.write(b"a-1 | on\xc3")
        assert file.read() == []
        out.write(b"\xa4e\na-1 | two\n")
        assert file.read() == [("a-1", "onäe"), ("a-1", "two")]
    file.close()


def test_there_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        LogFile(tmp_path / "log")
