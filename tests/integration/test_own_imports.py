"""What own code imports and cannot: one line says what is missing and where to add it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fanout.errors import ExitCode
from support.own_code import own_code
from support.service import Service

Start = Callable[..., Service]
SERVICES = pytest.mark.parametrize(("service", "setting"), [("publisher", "SOURCE"), ("subscriber", "HANDLER")])


@pytest.fixture
def reason(tmp_path: Path, start: Start) -> Callable[..., str]:
    """Why a service ends whose own code is this module."""

    def end(service: str, setting: str, code: str, name: str = "mine:mine") -> str:
        process = start(service, PYTHONPATH=own_code(tmp_path, code, service), **{setting: name})
        assert process.ended() == ExitCode.BAD_INPUT
        assert [line["event"] for line in process.lines] == ["failed"]
        assert "exception" not in process.lines[0]
        return str(process.lines[0]["reason"])

    return end


@SERVICES
@pytest.mark.parametrize("code", ["import not_there", "from not_there.part import something", "import not_there.part"])
def test_a_package_that_is_missing_is_named_and_where_to_add_it(
    reason: Callable[..., str], service: str, setting: str, code: str
) -> None:
    said = reason(service, setting, code)
    assert "not_there" in said
    assert f"add its package to services/{service}/requirements.in, then make lock and make up" in said
    assert "that exists" not in said


@SERVICES
@pytest.mark.parametrize("name", ["none:mine", "none.deep:mine", "mine.deep:mine"])
def test_a_module_that_is_not_there_is_said_to_be_so(
    reason: Callable[..., str], service: str, setting: str, name: str
) -> None:
    said = reason(service, setting, "", name)
    assert "a module that exists" in said
    assert "requirements.in" not in said


WRONG = {
    "a part that is not there": ("import asyncio.not_there", "No module named 'asyncio.not_there'"),
    "an attribute that is not there": ("import os\nos.nowhere", "mine.py line 2)"),
    "no module at all": ("raise ModuleNotFoundError('mine own')", "ModuleNotFoundError: mine own"),
    "a syntax error": ("def", "SyntaxError: invalid syntax (mine.py, line 1)"),
    "a function that is not there": ("", "mine has no 'mine'"),
}


@SERVICES
@pytest.mark.parametrize("wrong", WRONG)
def test_what_else_is_wrong_with_a_module_is_said_with_its_place(
    reason: Callable[..., str], service: str, setting: str, wrong: str
) -> None:
    code, expected = WRONG[wrong]
    said = reason(service, setting, code)
    assert expected in said
    assert "requirements.in" not in said


@SERVICES
def test_a_name_that_is_none_is_refused(reason: Callable[..., str], service: str, setting: str) -> None:
    assert "must be module:function, such as" in reason(service, setting, "", "mine")
