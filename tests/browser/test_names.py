"""The dashboard with names that somebody else gave, and with a handler that fails."""

import json
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page, expect

from support.redis_server import RedisServer
from support.service import ROOT, Service
from support.waiting import eventually

TURNED = "a\u202eb"
MARKUP = "<img src=x onerror=alert(1)>"
CHANNELS = ("constructor", "<b>x", TURNED)


class Watched(NamedTuple):
    page: Page
    server: RedisServer
    publisher: Service
    wrong: list[str]


@pytest.fixture
def watched(browser: Browser, tmp_path: Path) -> Iterator[Watched]:
    """The page of a gateway of its own, beside a subscriber whose handler raises on every message."""
    (tmp_path / "failing.py").write_text("def handle(message): raise ValueError\n")
    path = ":".join([str(tmp_path), str(ROOT / "services/fanout"), str(ROOT / "services/subscriber")])
    server = RedisServer(tmp_path).start()
    subscriber = Service(
        "subscriber",
        REDIS_URL=server.url,
        INSTANCE=f"s {MARKUP}",
        CHANNELS=",".join(CHANNELS),
        HANDLER="failing:handle",
        PYTHONPATH=path,
    )
    services = [subscriber, Service("gateway", REDIS_URL=server.url), Service("publisher", REDIS_URL=server.url)]
    page, wrong = browser.new_page(), list[str]()
    page.set_default_timeout(20_000)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    try:
        subscriber.wait_for("live")
        page.goto(services[1].wait_for("started")[0]["http"])
        yield Watched(page, server, services[2], wrong)
    finally:
        page.close()
        for service in services:
            service.process.kill()
            service.ended()
            if service.process.stdout:
                service.process.stdout.close()
        server.stop()


def forge(server: RedisServer, instance: str, channels: dict[str, int], ended: threading.Event) -> None:
    """Keeps a record as a process of that name would."""
    record = {"service": "subscriber", "instance": instance, "state": "live", "since": 1.0, "channels": channels}
    client = server.client()
    while not ended.wait(0.3):
        client.set(f"fanout:presence:{instance}", json.dumps(record), px=15_000)
        client.sadd("fanout:presence", instance)


def send(publisher: Service, channel: str, data: str) -> None:
    url = publisher.wait_for("started")[0]["http"]
    address = f"{url}/channels/{urllib.parse.quote(channel, safe='')}/messages"
    request = urllib.request.Request(address, data.encode(), {"Content-Type": "text/plain"}, method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 202


def test_names_of_any_kind_are_names_and_shown_as_what_they_are(watched: Watched) -> None:
    page, server, publisher, wrong = watched
    for channel in CHANNELS:
        send(publisher, channel, f"to {channel}")
    server.client().set("fanout:{__proto__}:head", f"1-1 1 1 {'0' * 16}")
    ended = threading.Event()
    forged = f"forged-{TURNED}{MARKUP}"
    forging = threading.Thread(target=forge, args=(server, forged, {"__proto__": 1}, ended))
    forging.start()
    try:
        expect(page.locator("#lanes .lane")).to_have_count(2)
        names = {f"s {MARKUP}", r"forged-a\u{202e}b" + MARKUP}
        eventually(lambda: set(page.locator("#lanes .lane .who b").all_text_contents()) == names)
        options = page.locator("#channel option")
        wanted = {"__proto__", "constructor", "<b>x", r"a\u{202e}b"}
        eventually(lambda: set(options.all_text_contents()) >= wanted)
        for channel in CHANNELS:
            page.get_by_label("Channel").select_option(channel)
            row = page.locator("#feed .row", has=page.get_by_text(f"to {channel}", exact=True))
            eventually(lambda row=row: row.count() == 1 and row.locator(".reach").text_content() == "1 of 1")
            expect(page.locator("#redis [data-field=count]")).to_have_text("1")
        page.evaluate("location.hash = '#channel=toString'")
        expect(page.locator("#redis [data-field=count]")).to_have_text("–")
        send(publisher, "toString", "hello")
        row = page.locator("#feed .row", has=page.get_by_text("hello", exact=True))
        row.wait_for()
        expect(row.locator(".reach")).to_have_text("")  # nobody takes that channel
        assert page.locator("#lanes img, #channel b, #happenings img").count() == 0
        assert wrong == []
    finally:
        ended.set()
        forging.join()


WITHIN = """lane => {
  const [lane_box, name, state] = [lane, ...lane.querySelectorAll(".who b, .who .state")].map(e => e.getBoundingClientRect());
  const fields = [...lane.querySelectorAll("dd")].map(dd => dd.getBoundingClientRect());
  const apart = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
  return state.right <= lane_box.right && fields.every(dd => dd.right <= lane_box.right && apart(dd, name) && apart(dd, state));
}"""


@pytest.mark.parametrize("width", [1440, 1200, 390])
def test_a_long_name_is_cut_and_lies_over_nothing(watched: Watched, width: int) -> None:
    page, server, _, _ = watched
    page.set_viewport_size({"width": width, "height": 900})
    ended = threading.Event()
    forging = threading.Thread(target=forge, args=(server, "W" * 900, {"W" * 255: 1}, ended))
    forging.start()
    try:
        expect(page.locator("#lanes .lane")).to_have_count(2)
        assert page.locator("#lanes .lane").evaluate_all(f"lanes => lanes.map({WITHIN})") == [True, True]
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    finally:
        ended.set()
        forging.join()


def test_a_handler_that_raises_on_every_message_stands_out(watched: Watched) -> None:
    page, _, publisher, wrong = watched
    page.locator("#lanes .lane[data-tone=good]").wait_for()
    failed = page.locator("#lanes .lane [data-field=failed]")
    expect(failed).to_have_text("0")
    expect(failed).not_to_have_class("alert")
    for n in range(3):
        send(publisher, "constructor", str(n))
    expect(failed).to_have_text("3")
    expect(failed).to_have_class("alert")
    page.locator("#happenings").get_by_text("failed on").first.wait_for()
    assert wrong == []


SEEN = """async () => {
  const { Seen } = await import("/page/seen.js");
  const seen = new Seen();
  const source = "/c/0123456789abcdef";
  const made = (id, streamid) => seen.first({ source, id: String(id), streamid });
  return [made(1, "1-1"), made(1e15), made(1e15), made(2, "2-1"), made(1, "1-1"), made(2, "2-1")];
}"""


def test_an_event_that_is_in_no_history_hides_none_that_is(watched: Watched) -> None:
    assert watched.page.evaluate(SEEN) == [True, True, False, True, False, False]
