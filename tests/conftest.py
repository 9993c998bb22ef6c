import os

import pytest


def pytest_configure(config: pytest.Config) -> None:
    for name in ("REDIS_URL", "REDIS_PASSWORD", "INSTANCE", "LOG_FORMAT", "LOG_LEVEL", "COMPOSE_FILE"):
        os.environ.pop(name, None)
