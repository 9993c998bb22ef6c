import threading
import time
import urllib.request

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from support.compose_stack import Stack
from support.dashboard import WATCH_THE_PICTURE, Dashboard, look
from support.waiting import eventually

ORDERS = ["order 4711 paid", "order 4711 shipped", '{"order": 4712, "state": "paid"}', "stock of item 17 is low"]
OVER_THE_API = 30


def publish(stack: Stack, text: str) -> None:
    """Over the publisher's API, which answers when Redis has accepted it."""
    kind = "application/json" if text.startswith("{") else "text/plain"
    url = f"http://127.0.0.1:{stack.api_port}/channels/notifications/messages"
    request = urllib.request.Request(url, data=text.encode(), method="POST", headers={"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=OVER_THE_API) as answer:
        assert answer.status == 202


def traffic(stack: Stack, seconds: float, every: float = 0.2) -> None:
    end, n = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        publish(stack, ORDERS[n % len(ORDERS)])
        n += 1
        time.sleep(every)


@pytest.mark.parametrize(
    ("name", "width", "height", "scheme"),
    [("light", 1440, 900, "light"), ("dark", 1440, 900, "dark"), ("narrow", 390, 844, "light")],
)
def test_the_page_shows_all_replicas_and_is_accessible(
    browser: Browser, stack: Stack, name: str, width: int, height: int, scheme: str
) -> None:
    for dashboard in look(browser, stack, width, height, color_scheme=scheme, device_scale_factor=1):
        page = dashboard.page
        traffic(stack, 3)
        for number in (1, 2, 3):
            lane = page.locator("#lanes .lane").nth(number - 1)
            expect(lane).to_have_attribute("title", f"{stack.project}-subscriber-{number}")
            expect(lane.locator(".who b")).to_have_text(f"subscriber-{number}")
            expect(lane.locator(".state")).to_have_text("live")
            expect(lane.locator("[data-field=rate]")).not_to_have_text("0/s")
            expect(lane.locator("[data-field=p99]")).to_contain_text("ms")
            assert lane.locator(".chart .line").get_attribute("d")
        assert page.locator("#sources .who b").all_text_contents() == ["publisher-1", "gateway-1"]
        expect(page.locator("#redis .state")).to_have_text("connected")
        expect(page.locator("#totals [data-field=live]")).to_have_text("3 of 3")
        dashboard.picture(name, full_page=name == "narrow")
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width
        found = Axe().run(page).response["violations"]
        assert not found, [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]
        assert dashboard.wrong == []


def test_a_message_from_the_box_travels_to_every_lane_and_stands_in_the_feed(dashboard: Dashboard) -> None:
    page = dashboard.page
    page.evaluate(WATCH_THE_PICTURE)
    dashboard.box.fill("from the box")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#sent")).to_have_text("Sent to notifications.")
    eventually(lambda: page.evaluate("window.seenOnTheWay") == ["to Redis", "to the lanes"])
    dashboard.arrived("from the box")
    assert dashboard.wrong == []


def test_everything_can_be_done_with_the_keyboard_and_nothing_moves_where_that_is_asked_for(
    browser: Browser, stack: Stack
) -> None:
    for dashboard in look(browser, stack, reduced_motion="reduce"):
        page = dashboard.page
        page.evaluate(WATCH_THE_PICTURE)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to sending a message"
        page.keyboard.press("Enter")
        page.keyboard.type("by keyboard")
        page.keyboard.press("Enter")
        dashboard.arrived("by keyboard")
        expect(dashboard.box).to_have_value("")
        reached = set()
        for _ in range(12):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none" or page.evaluate("document.activeElement === document.body")
        assert {"json", "Send"} <= reached
        row = dashboard.row("by keyboard")
        row.locator("summary").focus()
        page.keyboard.press("Enter")
        expect(row.locator("pre")).to_contain_text('"specversion": "1.0"')
        assert page.evaluate("window.seenOnTheWay") == []
        assert dashboard.wrong == []


def test_what_a_message_says_is_text_and_what_cannot_be_sent_is_said_in_words(dashboard: Dashboard) -> None:
    page = dashboard.page
    box, said = dashboard.box, page.locator("#sent")
    markup = "<img src=x onerror=alert(1)>"
    box.fill(markup)
    box.press("Enter")
    dashboard.arrived(markup)
    assert page.locator("#feed img").count() == 0
    box.fill("x" * 70_000)
    box.press("Enter")
    expect(said).to_contain_text("Not sent: the body has more than MAX_EVENT")
    page.get_by_label("JSON").check()
    box.fill("{order: 42}")
    box.press("Enter")
    expect(said).to_contain_text("This is not JSON")
    box.fill('{"order": 42}')
    box.press("Enter")
    dashboard.arrived('{"order":42}')
    assert [line for line in dashboard.wrong if "413" not in line] == []  # the browser logs every answer that is one


def test_another_channel_has_a_feed_of_its_own(dashboard: Dashboard, stack: Stack) -> None:
    page = dashboard.page
    publish(stack, "seen on notifications")
    dashboard.arrived("seen on notifications")
    page.evaluate("location.hash = '#channel=audit'")
    expect(page.get_by_label("Channel")).to_have_value("audit")
    expect(page.locator("#no-feed")).to_be_visible()
    dashboard.box.fill("for audit only")
    dashboard.box.press("Enter")
    dashboard.row("for audit only").wait_for()
    page.get_by_label("Channel").select_option("notifications")
    dashboard.row("seen on notifications").wait_for()
    assert dashboard.row("for audit only").count() == 0
    assert dashboard.wrong == []


def test_the_feed_misses_nothing_while_redis_is_away(dashboard: Dashboard, stack: Stack) -> None:
    page = dashboard.page
    messages = ["before the outage", *(f"during the outage {n}" for n in range(5)), "after the outage"]
    publish(stack, messages[0])
    dashboard.arrived(messages[0])
    stack.compose("stop", "redis")
    expect(page.locator("#redis .state")).to_have_text("away")
    expect(page.locator("#stale")).to_contain_text("Redis is away")
    dashboard.happened("Redis is away")
    expect(page.locator("#lanes .lane .state").first).to_have_text("silent")
    dashboard.picture("away")
    sending = threading.Thread(target=lambda: [publish(stack, message) for message in messages[1:-1]])
    sending.start()
    stack.compose("start", "redis")
    sending.join()
    publish(stack, messages[-1])
    for message in messages:
        dashboard.arrived(message)
    expect(page.locator("#redis .state")).to_have_text("connected")
    expect(page.locator("#stale")).to_be_hidden()
    dashboard.happened("Redis is back, after")
    dashboard.happened("reconnected")
    expect(page.locator("#totals [data-field=live]")).to_have_text("3 of 3")
    assert page.locator("#happenings").get_by_text(" left").count() == 0
    feed = dashboard.feed()
    assert [text for _, text in feed if "outage" in text] == messages
    assert [seq for seq, _ in feed] == list(range(feed[0][0], feed[-1][0] + 1))
    assert dashboard.wrong == []


def test_the_page_comes_back_with_the_gateway_and_misses_nothing(dashboard: Dashboard, stack: Stack) -> None:
    publish(stack, "before the gateway went")
    dashboard.arrived("before the gateway went")
    stack.compose("stop", "gateway")
    expect(dashboard.page.locator("#gateway b")).to_have_text("reconnecting")
    expect(dashboard.page.locator("#stale")).to_contain_text("The gateway does not answer")
    dashboard.box.fill("kept")
    dashboard.box.press("Enter")
    expect(dashboard.page.locator("#sent")).to_contain_text("Not sent: the gateway cannot be reached")
    publish(stack, "while the gateway was away")
    stack.compose("start", "gateway")
    dashboard.arrived("while the gateway was away")
    dashboard.happened("The gateway is back")
    dashboard.box.press("Enter")
    dashboard.arrived("kept")
    feed = dashboard.feed()
    assert [seq for seq, _ in feed] == list(range(feed[0][0], feed[-1][0] + 1))
    assert [line for line in dashboard.wrong if "net::ERR" not in line] == []  # the browser logs every failed attempt


def test_a_page_of_which_a_part_did_not_come_loads_again(browser: Browser, stack: Stack) -> None:
    page = browser.new_page()
    page.route("**/page/lanes.js", lambda route: route.abort("connectionreset"), times=1)
    page.goto(f"http://127.0.0.1:{stack.gateway_port}/")
    page.locator("#lanes .lane").nth(2).wait_for()
    page.close()


def test_replicas_come_and_go(dashboard: Dashboard, stack: Stack) -> None:
    lanes = dashboard.page.locator("#lanes .lane .who b")
    stack.make("scale", SUBSCRIBERS="2")
    eventually(lambda: lanes.all_text_contents() == ["subscriber-1", "subscriber-2"], 10)
    dashboard.happened("subscriber-3 left")
    publish(stack, "for two")
    dashboard.arrived("for two", at=2)
    stack.make("scale", SUBSCRIBERS="3")
    eventually(lambda: lanes.count() == 3)
    dashboard.happened("subscriber-3 joined")
    publish(stack, "for three")
    dashboard.arrived("for three", at=3)
    assert dashboard.wrong == []
