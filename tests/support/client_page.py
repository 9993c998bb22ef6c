"""A page with the browser client on it, and what a test asks of it."""

from typing import Any

from playwright.sync_api import Error, Page

from support.waiting import eventually

OPEN = """async ([url, token]) => {
  const { Fanout } = await import(`${url}fanout.js`);
  window.log = [];
  window.ends = {};
  const asked = async () => (await (await fetch("/token")).json()).token;
  window.fanout = new Fanout(url, { token: token === true ? asked : token ?? undefined });
  fanout.onstate = (state) => log.push(["state", state]);
  fanout.onerror = (error) => log.push(["error", error.message]);
}"""
SUBSCRIBE = """([name, options]) => {
  ends[name] = fanout.subscribe(name, (message) => log.push(["message", name, message.data]), {
    onGone: (gone) => log.push(["gone", name, gone.exact]),
    onError: (error) => log.push(["refused", name, error.message, error.retrying]),
    ...options,
  });
}"""
BLOCK = "() => { window.WebSocket = class { constructor() { throw new Error('blocked') } } }"


class Client:
    """A page with the client on it, and what its callbacks were called with.

    `url` is the page; `gateway` is where the client is from and goes to. With the token True the page's server is asked
    for one.
    """

    def __init__(self, page: Page, url: str, token: object = None, *, gateway: str = "") -> None:
        self.page = page
        self._arguments = [gateway or url.removesuffix("healthz"), token]
        eventually(lambda: self._load(url))

    def _load(self, url: str) -> bool:
        """Whether it is loaded: Chromium breaks off when any network interface of the machine comes or goes."""
        try:
            self.page.goto(url)
            self.page.evaluate(OPEN, self._arguments)
        except Error as error:
            if "ERR_NETWORK_CHANGED" in str(error) or "dynamically imported" in str(error):
                return False
            raise
        return True

    def without_websockets(self) -> "Client":
        self.page.evaluate(BLOCK)
        return self

    def subscribe(self, *names: str, **options: object) -> "Client":
        for name in names:
            self.page.evaluate(SUBSCRIBE, [name, options])
        return self

    def unsubscribe(self, name: str) -> None:
        self.page.evaluate("name => ends[name]()", name)

    def log(self, kind: str) -> list[Any]:
        return [entry[1:] for entry in self.page.evaluate("log") if entry[0] == kind]

    def data(self, name: str) -> list[Any]:
        return [data for channel, data in self.log("message") if channel == name]

    def live(self) -> "Client":
        eventually(lambda: self.page.evaluate("fanout.state") == "live")
        return self

    def has(self, name: str, data: list[Any], within: float = 30) -> None:
        """Waits for exactly these."""
        eventually(lambda: len(self.data(name)) >= len(data), within)
        assert self.data(name) == data


def look(page: Page, url: str) -> None:
    """Opens an example; see Client._load."""

    def load() -> bool:
        page.goto(url)
        return bool(page.locator("#state").count())

    eventually(load)
