"""Publishes probe messages through a publisher's HTTP API, one after the other, and prints what became of each.

probe.py --url http://127.0.0.1:3000 --channel NAME --run ID --count N --rate N --within SECONDS

A JSON object a line: `n`, `sent` (seconds since 1970), and `source` and `id` as the API answered; or `n` and `waits`,
why it is tried again; or `failed`, why it is given up, the last line. What is sent again has the same Idempotency-Key,
so that it is published once. Needs nothing but Python, so that it can be piped into `python -` in a container.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import quote, urlsplit

ANSWER_WITHIN, CONNECT_WITHIN, RETRY_EVERY = 15.0, 5.0, 0.25
KEPT_OPEN = 2.0  # shorter than uvicorn keeps an idle connection
Row = dict[str, Any]


class Refused(Exception):
    """The API answers that it will never take this."""


class Api:
    """A connection to the API, opened when it is needed."""

    def __init__(self, url: str, channel: str, run: str, count: int) -> None:
        self._address, self._path = urlsplit(url).netloc, f"/channels/{quote(channel, safe='')}/messages"
        self._run, self._count = run, count
        self._connection: HTTPConnection | None = None
        self._used = 0.0

    def post(self, n: int, within: float) -> Row | str:
        """Publishes the n-th message; returns the answer, or why there is none yet.

        Raises:
            Refused: there will never be one.
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
        said = _detail(body)
        if answer.status == 202 and isinstance(said, dict):
            return said
        if answer.status == 503:
            return f"the publisher answers 503: {said}"
        raise Refused(f"the publisher answers {answer.status}: {said}")

    def close(self) -> None:
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
    """Sends each message until it is accepted, for `within` seconds at the most; ends with one that is not."""
    began = time.monotonic()
    for n in range(1, count + 1):
        time.sleep(max(0.0, began + (n - 1) / rate - time.monotonic()))
        sent, deadline, why = time.time(), time.monotonic() + within, ""
        while isinstance(answer := api.post(n, max(0.1, deadline - time.monotonic())), str):
            # At the end there is little time for a try, and that it timed out says less than the one before did.
            why = why if why and answer.endswith("timed out") else answer
            if time.monotonic() + RETRY_EVERY > deadline:
                yield {"n": n, "failed": why}
                return
            yield {"n": n, "waits": why}
            time.sleep(RETRY_EVERY)
        yield {"n": n, "sent": sent, "source": answer["source"], "id": answer["id"]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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


if __name__ == "__main__":
    sys.exit(main())
