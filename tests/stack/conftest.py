from collections.abc import Iterator

import pytest

from support.compose_stack import Stack, running


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    yield from running("dev", 3)


@pytest.fixture
def metrics() -> Iterator[Stack]:
    yield from running("metrics", 3)


@pytest.fixture
def prod() -> Iterator[Stack]:
    yield from running("prod", 2)
