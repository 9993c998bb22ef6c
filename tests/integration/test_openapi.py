"""The services against their own OpenAPI descriptions: to whatever they are asked, they answer what these say."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.pytest.lazy import get_all_tests
from schemathesis.specs.openapi.checks import positive_data_acceptance

from support.gateways import handshake, url
from support.http_client import Raw, ask, ready
from support.issuer import Issuer, bearer
from support.login_world import LOGIN, somewhere
from support.service import Service

EXAMPLES = 40
UNDOCUMENTED = [
    not_a_server_error,  # the only one that a description may have is 503, which others check
    positive_data_acceptance,  # not all rules are those of a schema: bytes of a name, headers that belong together
]
Start = Callable[..., Service]


class HeadsOnly(requests.Session):
    """Of an answer that never ends it reads only the head."""

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        answer = super().send(request, **(kwargs | {"stream": True}))
        if answer.headers.get("Content-Type", "").startswith("text/event-stream"):
            answer.raw.close()
        return answer


@pytest.mark.parametrize("login", [False, True], ids=["open", "login"])
def test_a_service_answers_what_its_description_says(unharmed: Start, name: str, tmp_path: Path, login: bool) -> None:
    issuer = Issuer(tmp_path)
    service = ready(unharmed(name, **LOGIN, **(issuer.settings if login else {})))
    token = bearer(issuer.token(subscribe="*", publish="*", dashboard=True)) if login else {}

    def ask_and_check(case: Case) -> None:
        headers = {"X-Forwarded-For": somewhere()} | token
        case.call_and_validate(session=session, headers=headers, excluded_checks=UNDOCUMENTED)

    schema = schemathesis.openapi.from_url(f"{url(service)}/openapi.json")
    few = settings(
        max_examples=EXAMPLES,
        phases=(Phase.explicit, Phase.generate),  # to make an example smaller takes longer than the rest
        suppress_health_check=list(HealthCheck),
    )
    wrong, tried = [], []
    with HeadsOnly() as session:
        # What schemathesis' own fixture does, which does not work with each version of pytest.
        for found in get_all_tests(schema=schema, test_func=ask_and_check, settings=few, given_kwargs={}):
            operation, test = found.ok()
            tried.append(operation.label)
            try:
                test()
            except AssertionError as error:
                wrong.append(f"{operation.label}: {error}")
    assert not wrong, "\n\n".join(wrong)
    assert "POST /channels/{channel}/messages" in tried
    assert service.process.poll() is None
