import os
import signal
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings


def pytest_configure(config: pytest.Config) -> None:
    for name in (
        "REDIS_URL",
        "REDIS_PASSWORD",
        "INSTANCE",
        "AUTH",
        "AUTH_KEYS_FILE",
        "AUTH_JWKS_URL",
        "AUTH_PUBLIC_KEY",
        "LOG_FORMAT",
        "LOG_LEVEL",
        "COMPOSE_FILE",
        "COLUMNS",
        "LINES",
    ):
        os.environ.pop(name, None)
    # What a shell runs in the background ignores these, and what tests start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # How fast examples are says how busy the machine is.
    settings.register_profile("fanout", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("fanout")


@pytest.fixture(autouse=True)
def structlog_as_it_was() -> Iterator[None]:
    """structlog's own capture_logs leaves it configured, and the library logs to structlog wherever that is."""
    configured = structlog.is_configured()
    yield
    if not configured:
        structlog.reset_defaults()
