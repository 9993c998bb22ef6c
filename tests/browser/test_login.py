"""The dashboard's login box, in a browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from support.issuer import Issuer, bearer
from support.login_world import ask
from support.redis_server import RedisServer
from support.service import Service


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


@pytest.fixture
def gateway(tmp_path: Path, issuer: Issuer) -> Iterator[Service]:
    server = RedisServer(tmp_path).start()
    gateway = Service("gateway", REDIS_URL=server.url, **issuer.settings)
    gateway.wait_for("connected")
    yield gateway
    assert gateway.stop() == 0
    assert gateway.process.stdout
    gateway.process.stdout.close()
    server.stop()


@pytest.fixture
def page(browser: Browser, gateway: Service) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.goto(str(gateway.wait_for("started")[0]["http"]).replace("127.0.0.1", "localhost"))
    yield page
    context.close()


def log_in(page: Page, token: str) -> None:
    page.get_by_label("Token").fill(token)
    page.get_by_role("dialog").get_by_role("button", name="Log in").click()


def test_a_token_opens_the_dashboard_and_logging_out_closes_it(page: Page, gateway: Service, issuer: Issuer) -> None:
    box, status = page.get_by_role("dialog"), page.get_by_role("dialog").get_by_role("status")
    expect(box).to_be_visible()
    log_in(page, "letmein")
    expect(status).to_contain_text("not a signed JWT")
    log_in(page, issuer.token("ann"))
    expect(status).to_contain_text("does not permit the dashboard")
    token = issuer.token("op", ["*"], ["*"], dashboard=True)
    log_in(page, token)
    expect(box).to_be_hidden()
    expect(page.locator("#redis-pill")).to_contain_text("connected")
    assert page.evaluate("document.cookie") == ""
    [cookie] = page.context.cookies()
    assert (cookie["value"], cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (token, True, True, "Strict")
    assert ask(gateway, "POST", "/channels/notifications/messages", bearer(token).items(), b"hello").status == 202
    page.get_by_role("button", name="Log out op").click()
    expect(box).to_be_visible()
    assert page.context.cookies() == []


def test_the_page_asks_again_when_the_token_has_expired(page: Page, issuer: Issuer) -> None:
    box = page.get_by_role("dialog")
    log_in(page, issuer.token("op", ["*"], dashboard=True, lasts=-5))
    expect(box).to_be_hidden()
    expect(page.locator("#redis-pill")).to_contain_text("connected")
    expect(box).to_be_visible(timeout=20_000)
    log_in(page, issuer.token("op", ["*"], dashboard=True))
    expect(box).to_be_hidden()
    expect(page.locator("#gateway")).to_contain_text("connected")
