"""A message to an HTTP API, and what is answered."""

import json
import urllib.error
import urllib.request
from typing import Any


def post(url: str, data: str, **headers: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and headers of the answer."""
    request = urllib.request.Request(url, data=data.encode(), method="POST", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error), dict(error.headers)
