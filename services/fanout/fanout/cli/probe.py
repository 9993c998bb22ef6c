"""Publishes probe messages through a publisher's HTTP API, one after the other, and prints the result of each.

Each line is a JSON object. An accepted message has `n`, `sent` (seconds since 1970), and the API's `source` and `id`.
One that is tried again has `n` and the reason `waits`; `failed` is the reason for giving up, in the last line. A
message that is sent again keeps its Idempotency-Key, so it is published once.
"""

import argparse
import json
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import quote, urlsplit

ANSWER_WITHIN, CONNECT_WITHIN, RETRY_EVERY = 15.0, 5.0, 0.25
KEPT_OPEN = 2.0  # shorter than uvicorn keeps an idle connection
Row = dict[str, Any]


class Refused(Exception):
    """The API refuses the message for good."""


class Api:
    """A connection to the API, opened on demand."""

    def __init__(self, url: str, channel: str, run: str, count: int) -> None:
        self._address, self._path = urlsplit(url).netloc, f"/channels/{quote(channel, safe='')}/messages"
        self._run, self._count = run, count
        self._connection: HTTPConnection | None = None
        self._used = 0.0

    def post(self, n: int, within: float) -> Row | str:
        """Publish the n-th message within `within` seconds; return the answer, or why it is not accepted yet.

        Raises:
            Refused: the API refuses it for good.
        """
        headers = {"Content-Type": "text/plain", "Idempotency-Key": f"report-{self._run}-{n}"}
        data = f"report {self._run} {n} of {self._count}"
        if time.monotonic() - self._used > KEPT_OPEN:
            self.close()
        try:
            if self._connection is None:
                self._connection = HTTPConnection(self._address, timeout=min(CONNECT_WITHIN, within))
                self._connection.connect()
            self._connection.sock.settimeout(min(ANSWER_WITHIN, within))
            self._connection.request("POST", self._path, data.encode(), headers)
            answer = self._connection.getresponse()
            body = answer.read().decode(errors="replace")
            self._used = time.monotonic()
        except (OSError, HTTPException) as error:
            self.close()
            return f"the publisher does not answer: {error or type(error).__name__}"
        detail = _detail(body)
        if answer.status == 202 and isinstance(detail, dict):
            return detail
        if answer.status == 503:
            return f"the publisher answers 503: {detail}"
        raise Refused(f"the publisher answers {answer.status}: {detail}")

    def close(self) -> None:
        """Close the connection if it is open."""
        if self._connection:
            self._connection.close()
        self._connection = None


def _detail(body: str) -> Any:
    try:
        found = json.loads(body)
    except ValueError:
        return " ".join(body.split())[:200]
    return found.get("detail", found) if isinstance(found, dict) else found


def publish(api: Api, count: int, rate: float, within: float) -> Iterator[Row]:
    """Send each message until it is accepted, for at most `within` seconds; stop at the first that is not."""
    began = time.monotonic()
    for n in range(1, count + 1):
        time.sleep(max(0.0, began + (n - 1) / rate - time.monotonic()))
        sent, deadline, why = time.time(), time.monotonic() + within, ""
        while isinstance(answer := api.post(n, max(0.1, deadline - time.monotonic())), str):
            # The last attempt may have too little time; the reason of the one before it is then the useful one.
            why = why if why and answer.endswith("timed out") else answer
            if time.monotonic() + RETRY_EVERY > deadline:
                yield {"n": n, "failed": why}
                return
            yield {"n": n, "waits": why}
            time.sleep(RETRY_EVERY)
        yield {"n": n, "sent": sent, "source": answer["source"], "id": answer["id"]}


def main(parser: argparse.ArgumentParser) -> int:
    """Publish as the arguments say and return the exit code."""
    for name in ("url", "channel", "run"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--count", type=int, required=True)
    for name in ("rate", "within"):
        parser.add_argument(f"--{name}", type=float, required=True)
    options = parser.parse_args()
    api = Api(options.url, options.channel, options.run, options.count)
    try:
        for row in publish(api, options.count, options.rate, options.within):
            print(json.dumps(row), flush=True)
    except Refused as error:
        print(json.dumps({"failed": str(error)}), flush=True)
    except (BrokenPipeError, KeyboardInterrupt):
        return 130
    return 0
