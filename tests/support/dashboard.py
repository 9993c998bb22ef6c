"""The dashboard in a browser, and what goes wrong on it."""

from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Error, Locator, Page

from support.compose_stack import ROOT, Stack
from support.waiting import eventually

NETWORK_CHANGED = "net::ERR_NETWORK_CHANGED"
PICTURES = ROOT / "tests" / "artifacts" / "browser"

# Which dots are drawn from now on: left of Redis, right of it.
WATCH_THE_PICTURE = """() => {
  const redis = document.querySelector("#redis");
  const dot = CanvasRenderingContext2D.prototype.roundRect;
  window.seenOnTheWay = [];
  CanvasRenderingContext2D.prototype.roundRect = function (x, ...rest) {
    const where = x < redis.offsetLeft ? "to Redis" : "to the lanes";
    if (!window.seenOnTheWay.includes(where)) window.seenOnTheWay.push(where);
    return dot.call(this, x, ...rest);
  };
}"""

# The lanes with a filled receipt for that streamseq, of its own or of several messages of which it is one.
LANES_THAT_HAVE = """seq => [...document.querySelectorAll("#lanes .lane")].filter(lane =>
  [...lane.querySelectorAll(".receipt.arrived")].some(({ dataset }) =>
    dataset.seq >= seq && dataset.seq - dataset.count < seq)).length"""


class Dashboard(NamedTuple):
    """A page that is open. `wrong`: console errors, exceptions, dialogs and requests to other hosts."""

    page: Page
    wrong: list[str]

    @property
    def box(self) -> Locator:
        return self.page.get_by_role("textbox", name="Message")

    def row(self, text: str) -> Locator:
        return self.page.locator("#feed .row", has=self.page.get_by_text(text, exact=True))

    def arrived(self, text: str, at: int = 3, within: float = 20) -> None:
        """Waits until a message is in the feed, once, and that many lanes have shown it as arrived."""
        row = self.row(text)
        eventually(lambda: row.count() > 0, within)
        assert row.count() == 1
        seq = int(row.get_attribute("data-seq") or 0)
        eventually(lambda: self.page.evaluate(LANES_THAT_HAVE, seq) == at, within)
        eventually(lambda: row.locator(".reach").text_content() == f"{at} of {at}", within)

    def happened(self, text: str, within: float = 20) -> None:
        """Waits until that stands in the list of what happened."""
        self.page.locator("#happenings").get_by_text(text).first.wait_for(timeout=within * 1000)

    def feed(self) -> list[tuple[int, str]]:
        """The messages that stand there, oldest first: streamseq and text."""
        rows = self.page.locator("#feed .row").evaluate_all(
            "rows => rows.map(row => [Number(row.dataset.seq), row.querySelector('.data').textContent])"
        )
        return [(seq, text) for seq, text in reversed(rows)]

    def picture(self, name: str, **options: Any) -> None:
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=PICTURES / f"{name}.png", **options)


def load(page: Page, url: str, wrong: list[str]) -> bool:
    """Whether it is loaded: Chromium breaks off when any network interface of the machine comes or goes."""
    wrong.clear()
    try:
        page.goto(url)
    except Error as error:
        if NETWORK_CHANGED in str(error):
            return False
        raise
    return not any(NETWORK_CHANGED in line for line in wrong)


def look(browser: Browser, stack: Stack, width: int = 1440, height: int = 900, **options: Any) -> Iterator[Dashboard]:
    """The page in a window of that size, once it shows three live subscribers and its feed is connected."""
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    page = context.new_page()
    page.set_default_timeout(20_000)
    wrong: list[str] = []
    origin = f"127.0.0.1:{stack.gateway_port}"
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: None if urlsplit(request.url).netloc == origin else wrong.append(request.url))
    dashboard = Dashboard(page, wrong)
    try:
        eventually(lambda: load(page, f"http://{origin}/", wrong))
        page.locator("#lanes .lane[data-tone=good]").nth(2).wait_for()
        page.locator("#feed-state[data-tone=good]").wait_for()
        yield dashboard
    except BaseException:
        dashboard.picture("failed")
        print(wrong, page.locator("body").inner_text())
        raise
    finally:
        context.close()
