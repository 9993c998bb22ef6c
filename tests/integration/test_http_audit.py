"""Who posted what, without what it was; and data that stands in no log."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from support.http_client import post
from support.service import Service

Start = Callable[..., Service]
SECRET = "the-secret-itself"


@pytest.mark.parametrize("name", ["publisher", "gateway"])
@pytest.mark.parametrize(
    ("settings", "level"), [({"AUDIT": "on"}, "info"), ({"LOG_LEVEL": "debug"}, "debug"), ({}, "")]
)
def test_each_post_is_a_line_without_its_data(name: str, start: Start, settings: dict[str, str], level: str) -> None:
    service = start(name, TRUSTED_PROXIES="127.0.0.1", LOG_DATA="off", **settings)
    service.wait_for("connected")
    assert post(service, SECRET.encode(), "orders", x_forwarded_for="6.6.6.6, 10.0.0.1").status == 202
    assert post(service, b"\xff", "a%2Fb").status == 400
    assert post(service, b"x", "__proto__").status == 400
    service.wait_for("message_published")
    assert service.stop() == 0
    lines = [
        (line["level"], line["client"], line["channel"], line["size"], line["status"], line.get("cause"))
        for line in service.events("message_posted")
    ]
    expected = [
        (level, "10.0.0.1", "orders", len(SECRET), 202, None),
        (level, "127.0.0.1", "a/b", 1, 400, "the body is not valid UTF-8"),
        (level, "127.0.0.1", "__proto__", 1, 400, "channel names that begin with __ are reserved"),
    ]
    assert lines == (expected if level else [])
    assert SECRET not in json.dumps(service.lines)


@pytest.mark.parametrize("form", ["json", "console"])
def test_data_stands_in_no_line_where_that_is_said(start: Start, tmp_path: Path, form: str) -> None:
    (tmp_path / "failing.py").write_text(
        "def handle(message):\n    if message.data != 'end':\n        raise ValueError\n"
    )
    path = f"{tmp_path}:" + ":".join(
        f"{Path(__file__).parents[2]}/services/{part}" for part in ("fanout", "subscriber")
    )
    quiet = {"LOG_DATA": "off", "LOG_FORMAT": form, "LOG_LEVEL": "debug"}
    publisher = start("publisher", LOG_DATA="off", LOG_LEVEL="debug")
    publisher.wait_for("connected")
    subscriber = start(
        "subscriber", CHANNELS="n", HANDLER="failing:handle", START_FROM="earliest", PYTHONPATH=path, **quiet
    )
    for body, kind in (
        (SECRET, "text/plain"),
        (json.dumps({"a": [SECRET]}), "application/json"),
        (SECRET * 200, "text/plain"),
    ):
        assert post(publisher, body.encode(), content_type=kind).status == 202
    publisher.wait_for("message_published", 3)
    if form == "json":
        failed = subscriber.wait_for("handler_failed", 3)
        received = subscriber.wait_for("message_received", 3)
        assert all("data" not in line for line in failed + received + publisher.events("message_published"))
    else:
        subscriber.wait_for("NO JSON", 10)
    subscriber.stop()
    publisher.stop()
    assert SECRET not in json.dumps(subscriber.lines + publisher.lines)
