"""A server of keys, which can be another, slow, wrong or away."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from support.issuer import Issuer, jwk


class Jwks:
    """What it answers (`body`, `status`, `headers`), whether it lets one wait (`hold`), and how often it was asked."""

    def __init__(self) -> None:
        self.body, self.status, self.asked = b"{}", 200, 0
        self.hold = threading.Event()
        self.hold.set()
        self.headers: dict[str, str] = {}
        jwks = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                jwks.asked += 1
                jwks.hold.wait(20)
                self.send_response(jwks.status)
                for name, value in jwks.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(jwks.body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/keys.json"

    def give(self, *issuers: Issuer) -> None:
        self.body = json.dumps({"keys": [jwk(one.key, one.algorithm, one.kid) for one in issuers]}).encode()

    def close(self) -> None:
        self.hold.set()
        self.server.shutdown()
        self.server.server_close()
