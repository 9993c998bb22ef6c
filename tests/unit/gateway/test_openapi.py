"""The description of the gateway: it has every route, and is what OpenAPI allows."""

import re
from typing import Any

import pytest
from fastapi.openapi.models import OpenAPI

from fanout.service.login.gate import OPEN, Gate
from fanout.service.origins import Origins
from gateway.app import Gateway
from gateway.openapi import description

NOT_DESCRIBED = {"/", "/page/{name}", "/openapi.json"}
"""The dashboard's own, and the description itself."""


def test_every_route_is_described_and_no_other() -> None:
    nothing: Any = None
    app = Gateway(nothing, nothing, nothing, nothing, nothing, Origins((), (), "gateway"), nothing).app()
    routes = {
        (r.method.lower(), r.resource.canonical) for r in app.router.routes() if r.resource and r.method != "HEAD"
    }
    described = {(method, path) for path, methods in description(OPEN)["paths"].items() for method in methods}
    assert described == {(method, path) for method, path in routes if path not in NOT_DESCRIBED}


@pytest.mark.parametrize("login", [False, True])
def test_the_description_is_what_openapi_allows(login: bool) -> None:
    verifier: Any = object() if login else None
    found = description(Gate(verifier, None, None, "fanout_token"))
    OpenAPI.model_validate(found)
    named = set(re.findall(r"#/components/schemas/(\w+)", str(found)))
    assert named == set(found["components"]["schemas"])
    assert ("security" in found, "securitySchemes" in found["components"]) == (login, login)
    names = [operation["operationId"] for methods in found["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names))
