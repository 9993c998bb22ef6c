"""The browser client as the gateway serves it."""

import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPMessage

from support.gateways import request, url
from support.redis_server import RedisServer
from support.service import ROOT, Service

Start = Callable[..., Service]

MODULE = ROOT / "services/gateway/gateway/fanout.js"
PAGES = "https://app.example"


def fetch(gateway: Service, **headers: str) -> tuple[int, HTTPMessage, bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    asked = urllib.request.Request(f"{url(gateway)}/fanout.js", headers=named)
    try:
        with urllib.request.urlopen(asked, timeout=15) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def test_it_is_javascript_compressed_and_asked_for_again_each_time(server: RedisServer, unharmed: Start) -> None:
    gateway = unharmed("gateway")
    status, headers, body = fetch(gateway)
    assert (status, body) == (200, MODULE.read_bytes())
    assert headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert headers["Cache-Control"] == "no-cache"
    assert headers["X-Content-Type-Options"] == "nosniff"
    status, compressed, body = fetch(gateway, Accept_Encoding="gzip, deflate, br")
    assert compressed["Content-Encoding"] == "gzip"
    assert compressed["Vary"] == "Accept-Encoding, Origin"
    assert len(body) < 6 * 1024
    assert fetch(gateway, If_None_Match=compressed["ETag"])[0] == 304


def test_pages_of_allowed_origins_may_import_it_and_send_a_token(server: RedisServer, unharmed: Start) -> None:
    gateway = unharmed("gateway", ORIGINS=PAGES)
    status, headers, _ = fetch(gateway, Origin=PAGES)
    assert (status, headers["Access-Control-Allow-Origin"]) == (200, PAGES)
    assert fetch(gateway, Origin="https://other.example")[0] == 403
    status, answer = request(
        f"{url(gateway)}/channels/n/events", method="OPTIONS", Origin=PAGES, Access_Control_Request_Method="GET"
    )
    assert status == 204
    assert "Authorization" in answer["Access-Control-Allow-Headers"]
