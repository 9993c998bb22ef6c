"""The READMEs against the code, the Makefile, and one another."""

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
SERVICES = ROOT / "services/README.md"
COMPOSE = ROOT / "compose/README.md"
SOURCES = [
    path for path in (ROOT / "services").rglob("*.py") if not {"handlers", "sources", "examples"} & set(path.parts)
]
PAGES = sorted(
    ROOT / name
    for name in subprocess.check_output(["git", "ls-files", "*.md"], cwd=ROOT, text=True).splitlines()
    if (ROOT / name).exists()
)
LEVELS = {"debug", "info", "warning", "error", "critical"}
METRICS = {"counter": "_total", "gauge": "", "state": "", "Latency": "", "InfoMetricFamily": "_info"}


def section(page: Path, title: str) -> str:
    return page.read_text().split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def first_column(text: str) -> set[str]:
    return set(re.findall(r"^\| `([\w.]+)`", text, re.MULTILINE))


def calls() -> list[ast.Call]:
    return [node for path in SOURCES for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]


def called(call: ast.Call) -> str:
    return getattr(call.func, "attr", None) or getattr(call.func, "id", "")


def first_text(call: ast.Call) -> str | None:
    if call.args and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str):
        return call.args[0].value
    return None


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


@cache
def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    found: set[str] = set()
    for heading in re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE), re.MULTILINE
    ):
        anchor = base = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = 0
        while anchor in found:
            number += 1
            anchor = f"{base}-{number}"
        found.add(anchor)
    return found


def test_every_log_event_stands_in_the_readme_and_no_other() -> None:
    logged = {
        first_text(call)
        for call in calls()
        if isinstance(call.func, ast.Attribute | ast.Name)
        and (getattr(call.func, "attr", None) in LEVELS or getattr(call.func, "id", None) == "log")
    } - {None}
    assert logged == first_column(section(SERVICES, "Log events"))


def test_every_setting_stands_in_the_readme_and_no_other() -> None:
    methods = {"text", "secret", "choice", "integer", "number", "duration", "size", "channels", "fraction"}
    read = {
        first_text(call) for call in calls() if isinstance(call.func, ast.Attribute) and call.func.attr in methods
    } - {None}
    assert read == first_column(section(COMPOSE, "Settings"))


def test_every_metric_stands_in_the_readme_and_no_other() -> None:
    exported = {
        f"{name}{METRICS[called(call)]}"
        for call in calls()
        if called(call) in METRICS and (name := first_text(call) or "").startswith("fanout")
    }
    assert exported == first_column(section(SERVICES, "Metrics"))


def test_every_exit_code_stands_in_the_readme() -> None:
    from fanout.errors import ExitCode

    found = re.findall(r"^\| (\d+) \| `(\w+)`", section(SERVICES, "Exit codes"), re.MULTILINE)
    assert {int(code): name for code, name in found} == {code.value: code.name for code in ExitCode}


def test_every_module_of_the_library_stands_in_contributing_and_no_other() -> None:
    text = section(ROOT / "CONTRIBUTING.md", "The library, module by module")
    for part in text.split("\n### ")[1:]:
        [room] = re.findall(r"`(fanout[\w/]*)`", part.split("\n", 1)[0])
        files = (ROOT / "services/fanout" / room).iterdir()
        modules = {file.stem if file.suffix == ".py" else file.name for file in files if file.suffix in {".py", ".lua"}}
        assert first_column(part) == modules - {"__init__"}, room


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 180


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    text = without_code(page.read_text())
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset|href)="([^"]+)"', text)
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            there = target / "README.md" if target.is_dir() else target
            assert anchor in anchors(there), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_command_in_the_texts_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = page.read_text()
    code = "\n".join(
        re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE) + re.findall(r"`([^`\n]+)`", text)
    )
    assert set(re.findall(r"(?:^|[\w'\"] )make (?:[A-Z_]+=\S+ )*([a-z-]+)\b", code, re.MULTILINE)) <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_of_the_repository_that_a_text_names_exists(page: Path) -> None:
    made = r"compose/secrets/|tests/artifacts/|\S*/mine\.|compose/mine"
    for path in re.findall(r"(?<![\w./-])((?:compose|docker|scripts|services|tests)/[\w./-]*\w/?)", page.read_text()):
        if not re.match(made, path):
            near = [base / path for base in (ROOT, page.parent)]
            assert any(file.exists() for file in near), path


def test_the_readme_says_how_to_test_and_how_to_see_what_it_promises() -> None:
    assert {"make up SUBSCRIBERS=3", "make report"} <= set(README.read_text().splitlines())
    assert "`make test`" in README.read_text()


def test_the_compose_file_passes_every_setting_on() -> None:
    base = (ROOT / "compose/base.yaml").read_text()
    documented = first_column(section(COMPOSE, "Settings"))
    of_the_image = {"INSTANCE", "HTTP_HOST", "HTTP_PORT", "HEARTBEAT_FILE", "AUTH_KEYS_FILE"}
    assert documented - of_the_image == set(re.findall(r"^ +([A-Z_]+):", base, re.MULTILINE)) - {"PYTHON_IMAGE"}
