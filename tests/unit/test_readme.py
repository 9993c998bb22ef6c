"""The README's tables against the code."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
SOURCES = [path for path in (ROOT / "services").rglob("*.py") if "handlers" not in path.parts]
LEVELS = {"debug", "info", "warning", "error", "critical"}


def section(title: str) -> str:
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def calls() -> list[ast.Call]:
    return [node for path in SOURCES for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]


def test_every_log_event_stands_in_the_readme_and_no_other() -> None:
    logged = {
        call.args[0].value
        for call in calls()
        if isinstance(call.func, ast.Attribute | ast.Name)
        and (getattr(call.func, "attr", None) in LEVELS or getattr(call.func, "id", None) == "log")
        and call.args
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, str)
    }
    documented = set(re.findall(r"^\| `(\w+)`", section("Log events"), re.MULTILINE))
    assert logged == documented


def test_every_setting_stands_in_the_readme_and_no_other() -> None:
    methods = {"text", "secret", "choice", "integer", "number", "duration", "size", "channels", "fraction"}
    read = {
        call.args[0].value
        for call in calls()
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in methods
        and call.args
        and isinstance(call.args[0], ast.Constant)
    }
    documented = set(re.findall(r"^\| `([A-Z_]+)`", section("Settings"), re.MULTILINE))
    assert read == documented


def test_every_exit_code_stands_in_the_readme() -> None:
    from fanout.errors import ExitCode

    documented = {int(code): name for code, name in re.findall(r"^\| (\d+) \| `(\w+)`", README, re.MULTILINE)}
    assert documented == {code.value: code.name for code in ExitCode}


def test_every_make_command_in_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert (
        set(
            re.findall(
                r"\bmake ([a-z]+)\b(?=[^\n]*`|\n| )", "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
            )
        )
        <= targets
    )


def test_the_compose_file_passes_every_setting_on() -> None:
    base = (ROOT / "compose/base.yaml").read_text()
    documented = set(re.findall(r"^\| `([A-Z_]+)`", section("Settings"), re.MULTILINE))
    of_the_image = {"INSTANCE", "HTTP_HOST", "HTTP_PORT", "HEARTBEAT_FILE"}
    assert documented - of_the_image == set(re.findall(r"^ +([A-Z_]+):", base, re.MULTILINE)) - {"PYTHON_IMAGE"}
