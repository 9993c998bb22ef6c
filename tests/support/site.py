"""A web server of one's own beside the gateway: it has the examples, and knows who is logged in."""

import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.cookies import SimpleCookie
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from support.service import ROOT

WITH_LOGIN = re.compile(r"// With a login, (new Fanout\(.*\))\.\n")
Issue = Callable[[str], str]


class Site:
    """`/token` gives whoever the cookie `user` names a token of `issue`; `issued` are all that were given."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder, self.url = folder, url
        self.issue: Issue | None = None
        self.issued: list[str] = []

    @property
    def blank(self) -> str:
        return f"{self.url}/blank.html"

    def use(self, gateway: str, *, login: bool = False) -> None:
        """Has the examples use a gateway, with a login as their comment says."""
        for module in self._folder.glob("*.js"):
            text = module.read_text()
            assert "http://localhost:8080/fanout.js" in text
            found = WITH_LOGIN.search(text)
            assert found
            if login:
                text = text.replace("new Fanout();", f"{found[1]};")
                assert text.count(found[1]) == 2
            module.write_text(text.replace("http://localhost:8080/", gateway))

    def token(self, user: str) -> str:
        assert self.issue
        self.issued.append(self.issue(user))
        return self.issued[-1]


@contextmanager
def served(tmp_path: Path) -> Iterator[Site]:
    folder = tmp_path / "examples"
    shutil.copytree(ROOT / "services/gateway/examples", folder)
    (folder / "blank.html").write_text('<!doctype html><title>Blank</title><link rel="icon" href="data:,">')

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def do_GET(self) -> None:
            if self.path != "/token":
                return super().do_GET()
            user = SimpleCookie(self.headers["Cookie"])["user"].value
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"token": site.token(user)}).encode())
            return None

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as files:
        site = Site(folder, f"http://localhost:{files.server_port}")
        thread = threading.Thread(target=files.serve_forever)
        thread.start()
        try:
            yield site
        finally:
            files.shutdown()
            thread.join()
