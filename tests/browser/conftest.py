import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from support.compose_stack import Stack, running
from support.dashboard import Dashboard, look
from support.waiting import missing


# Of the module, so that Playwright's event loop has ended when other tests want theirs.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if not program:
        missing("no chromium on PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def stack(browser: Browser) -> Iterator[Stack]:
    yield from running("dev gateway", 3)


@pytest.fixture
def dashboard(browser: Browser, stack: Stack) -> Iterator[Dashboard]:
    yield from look(browser, stack)
