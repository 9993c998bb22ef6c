import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from support.compose_stack import Stack, running
from support.dashboard import Dashboard, look
from support.fake_gateway import FakeGateway, fake_gateway
from support.issuer import Issuer
from support.redis_server import RedisServer
from support.service import Service
from support.site import Site, served
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


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    yield page
    page.close()
    assert wrong == []


@pytest.fixture
def server(browser: Browser, tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path).start()
    yield server
    server.stop()


@pytest.fixture
def fake(browser: Browser) -> Iterator[FakeGateway]:
    with fake_gateway() as gateway:
        yield gateway


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with served(tmp_path) as site:
        yield site


@pytest.fixture
def start(server: RedisServer, site: Site, issuer: Issuer) -> Iterator[Callable[..., Service]]:
    """Starts gateways with a login, which the site's pages may use."""
    gateways: list[Service] = []

    def start(**settings: object) -> Service:
        shared = {"REDIS_URL": server.url, "ORIGINS": site.url, **issuer.settings}
        gateways.append(Service("gateway", **shared, **settings))
        gateways[-1].wait_for("connected")
        return gateways[-1]

    yield start
    for gateway in gateways:
        if gateway.process.poll() is None:
            gateway.process.kill()
        gateway.ended()
        assert gateway.process.stdout
        gateway.process.stdout.close()


@pytest.fixture
def visit(browser: Browser, site: Site) -> Iterator[Callable[[str], Page]]:
    """Opens a page of the site for a user in a browser of their own."""
    wrong: list[str] = []
    contexts = []

    def visit(user: str) -> Page:
        contexts.append(browser.new_context())
        contexts[-1].add_cookies([{"name": "user", "value": user, "url": site.url}])
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        return page

    yield visit
    for context in contexts:
        context.close()
    assert wrong == []
