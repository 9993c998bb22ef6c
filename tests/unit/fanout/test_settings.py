from pathlib import Path

import pytest

import publisher.settings
import subscriber.settings
from fanout.environment import Environment
from fanout.errors import ExitCode, SettingError

BAD = [
    ("MAX_EVENT", "big", "a size from 256 to 1000000 bytes"),
    ("MAX_EVENT", "1GB", "a size from 256 to 1000000 bytes"),
    ("MAX_EVENT", "-5", "a size from 256 to 1000000 bytes"),
    ("LOG_MESSAGES", "some", "all, none, or a part such as 1/100"),
    ("LOG_MESSAGES", "1/0", "all, none, or a part such as 1/100"),
    ("BACKOFF_FIRST", "soon", "a duration from 0.001 to 60 seconds"),
    ("BACKOFF_FIRST", "0", "a duration from 0.001 to 60 seconds"),
    ("BACKOFF_CAP", "0.01", "a duration from 0.05 to 3600 seconds"),
    ("DEAD_AFTER", "0.1", "a duration from 0.5 to 3600 seconds"),
    ("DEAD_AFTER", "5 parsecs", "a duration from 0.5 to 3600 seconds"),
    ("METRICS_PORT", "on", "off, or a whole number from 0 to 65535"),
    ("METRICS_PORT", "65536", "off, or a whole number from 0 to 65535"),
    ("SHUTDOWN_GRACE", "nan", "a duration from 0 to 3600 seconds"),
]
BAD_PUBLISHER = [
    ("CHANNEL", "a,b", "one channel name"),
    ("CHANNEL", "a{b}", "1 to 255 bytes of UTF-8"),
    ("PUBLISH_INTERVAL", "1 fortnight", "a duration from 0 to"),
    ("PUBLISH_INTERVAL", "1.2.3", "a duration from 0 to"),
    ("PUBLISH_RATE", "fast", "a number from 0 to"),
    ("PUBLISH_RATE", "-1", "a number from 0 to"),
    ("PUBLISH_COUNT", "1.5", "a whole number from 0 to"),
    ("HTTP_PORT", "http", "a whole number from 0 to 65535"),
    ("HTTP_PORT", "70000", "a whole number from 0 to 65535"),
    ("WIRE_FORMAT", "xml", "one of cloudevents, plain"),
]
BAD_SUBSCRIBER = [
    ("CHANNELS", "ok,b{d", "channel names separated by commas"),
    ("PATTERNS", "news.{a}", "glob patterns separated by commas"),
    ("HANDLER", "mine.py", "module:function"),
    ("HANDLER", "handlers.mine", "module:function"),
    ("QUEUE_SIZE", "0", "a whole number from 1 to"),
]


def check(read: object, name: str, value: str, allowed: str) -> None:
    with pytest.raises(SettingError) as raised:
        read(Environment({"INSTANCE": "test", name: value}))
    message = str(raised.value)
    assert name in message
    assert value in message
    assert allowed in message
    assert "\n" not in message
    assert raised.value.exit_code == ExitCode.BAD_INPUT


@pytest.mark.parametrize(("name", "value", "allowed"), BAD + BAD_PUBLISHER)
def test_a_bad_setting_of_the_publisher_is_named_with_its_value_and_what_is_allowed(
    name: str, value: str, allowed: str
) -> None:
    check(publisher.settings.read, name, value, allowed)


@pytest.mark.parametrize(("name", "value", "allowed"), BAD + BAD_SUBSCRIBER)
def test_a_bad_setting_of_the_subscriber_is_named_with_its_value_and_what_is_allowed(
    name: str, value: str, allowed: str
) -> None:
    check(subscriber.settings.read, name, value, allowed)


def test_the_defaults_are_the_documented_ones() -> None:
    settings = publisher.settings.read(Environment({"INSTANCE": "x"}))
    assert (settings.channel, settings.publish_interval, settings.http.port, settings.history.plain) == (
        "notifications",
        5,
        3000,
        False,
    )
    assert (settings.backoff_first, settings.backoff_cap, settings.dead_after, settings.shutdown_grace) == (
        0.05,
        1,
        5,
        5,
    )
    assert (settings.max_event, settings.log_messages, settings.metrics_port) == (65536, 1.0, 0)
    assert settings.redis.options() == {"host": "localhost", "port": 6379, "db": 0}
    assert subscriber.settings.read(Environment({"INSTANCE": "x"})).what.channels == ("notifications",)


def test_an_empty_value_counts_as_not_set() -> None:
    assert publisher.settings.read(Environment({"INSTANCE": "x", "CHANNEL": "", "HTTP_PORT": " "})).http.port == 3000


def test_units_of_durations_and_sizes() -> None:
    env = Environment({"A": "500ms", "B": "2m", "C": "1.5h", "D": "64KiB", "E": "1MB", "F": "7"})
    assert [env.duration(name, "0", 0, 10**6) for name in "ABCF"] == [0.5, 120, 5400, 7]
    assert [env.size(name, "0", 0, 10**7) for name in "DEF"] == [65536, 1_000_000, 7]


def test_a_secret_is_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    settings = subscriber.settings.read(Environment({"INSTANCE": "x", "REDIS_PASSWORD_FILE": str(tmp_path / "secret")}))
    assert settings.redis.options()["password"] == "s3cret"
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    ("given", "producers"),
    [({}, 100_000), ({"HISTORY_SIZE": "250000"}, 250_000), ({"HISTORY_SIZE": "0", "PRODUCERS": "5"}, 5)],
)
def test_as_many_producers_are_told_apart_as_the_history_has_entries(given: dict[str, str], producers: int) -> None:
    assert subscriber.settings.read(Environment({"INSTANCE": "x"} | given)).what.producers == producers


@pytest.mark.parametrize(("history", "producers"), [("", "99999"), ("10", "9"), ("0", "0")])
def test_fewer_producers_than_the_history_has_entries_are_refused(history: str, producers: str) -> None:
    with pytest.raises(
        SettingError, match=f"PRODUCERS is '{producers}', but must be no fewer than HISTORY_SIZE: a whole"
    ):
        subscriber.settings.read(Environment({"INSTANCE": "x", "HISTORY_SIZE": history, "PRODUCERS": producers}))


def test_patterns_alone_mean_no_channels() -> None:
    settings = subscriber.settings.read(Environment({"INSTANCE": "x", "PATTERNS": "news.*"}))
    assert (settings.what.channels, settings.what.patterns) == ((), ("news.*",))
