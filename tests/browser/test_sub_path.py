"""The dashboard behind a proxy that has it at a path of its own."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from playwright.sync_api import Browser, expect

from support.gateways import post, url
from support.redis_server import RedisServer
from support.service import Service


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Service]:
    server = RedisServer(tmp_path).start()
    gateway = Service("gateway", REDIS_URL=server.url)
    yield gateway
    gateway.stop()
    gateway.process.stdout.close()  # type: ignore[union-attr]
    server.stop()


@pytest.fixture
def proxied(gateway: Service) -> Iterator[str]:
    """The address of /fanout/ at a proxy, where nothing else is."""
    target = url(gateway)
    loop = asyncio.new_event_loop()
    runner: web.AppRunner | None = None
    port = 0

    async def forward(request: web.Request) -> web.StreamResponse:
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method,
                f"{target}/{request.match_info['rest']}?{request.query_string}",
                data=await request.read(),
                headers={name: value for name, value in request.headers.items() if name not in {"Host", "Origin"}},
            ) as answer,
        ):
            response = web.StreamResponse(
                status=answer.status, headers={"Content-Type": answer.headers["Content-Type"]}
            )
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            return response

    async def start() -> None:
        nonlocal runner, port
        app = web.Application()
        app.router.add_route("*", "/fanout/{rest:.*}", forward)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(start(), loop).result(20)
    yield f"http://127.0.0.1:{port}/fanout/"
    assert runner
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_the_dashboard_works_at_a_path_of_a_proxy(browser: Browser, gateway: Service, proxied: str) -> None:
    page = browser.new_page()
    wrong: list[str] = []
    page.on("response", lambda answer: wrong.append(answer.url) if answer.status >= 400 else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(proxied)
    expect(page.locator("#redis .state")).to_have_text("connected")
    post(gateway, "over the proxy", "notifications")
    expect(page.locator("#feed")).to_contain_text("over the proxy")
    page.locator("#message").fill("from the box")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#sent")).to_have_text("Sent to notifications.")
    expect(page.locator("#feed")).to_contain_text("from the box")
    assert wrong == []
    page.close()
