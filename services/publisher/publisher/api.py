"""The HTTP API: POST messages, check the publisher's health, and read the documentation at /docs."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi_offline import FastAPIOffline
from uvicorn.protocols.http.h11_impl import H11Protocol

from fanout import Publisher
from fanout.service.http_body import RETRY_AFTER, Refused
from fanout.service.http_description import HEALTHZ, PUBLISH, READYZ, components
from fanout.service.http_guard import Guard
from fanout.service.http_ingest import Ingest, as_json
from fanout.service.login.gate import OPEN, Gate
from publisher.front import Front

BACKLOG = 1024
KEEP_ALIVE = 15
"""Seconds that a connection may be idle between two requests."""


def build(publisher: Publisher, ingest: Ingest, gate: Gate = OPEN, *, docs: bool) -> FastAPI:
    """Build the application, which gets paths percent-encoded; `docs` adds the page at /docs."""
    about: dict[str, Any] = {"title": "Fanout publisher", "version": "1", "redirect_slashes": False, "redoc_url": None}
    app = FastAPIOffline(**about) if docs else FastAPI(**about, openapi_url=None)

    @app.post("/channels/{channel}/messages", status_code=202, response_model=None, openapi_extra=PUBLISH)
    async def publish(request: Request) -> Any:
        peer = request.client.host if request.client else ""
        try:
            accepted = await ingest.take(peer, request.url.path, request.headers, request.stream())
        except Refused as error:
            raise HTTPException(error.status, str(error), error.headers) from None
        except asyncio.CancelledError:  # the server's shutdown timeout has passed
            raise HTTPException(503, "the publisher ends, and Redis has not accepted the event", RETRY_AFTER) from None
        return as_json(accepted)

    @app.get("/healthz", response_model=None, openapi_extra=HEALTHZ)
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", response_model=None, openapi_extra=READYZ)
    async def readyz(response: Response) -> dict[str, str | int]:
        response.status_code = 200 if publisher.redis else 503
        return {"redis": "connected" if publisher.redis else "connecting", "waiting": publisher.statistics().waiting}

    if docs:
        app.openapi().update(components(gate))
    return app


class Server(uvicorn.Server):
    """uvicorn behind a guard, in the service's event loop; signals are left to the service."""

    def __init__(self, app: Front, guard: Guard, grace: float) -> None:
        def protocol(**given: Any) -> asyncio.Protocol:
            return guard.protocol(lambda: H11Protocol(**given))

        super().__init__(
            uvicorn.Config(
                app,
                http=cast(type[asyncio.Protocol], protocol),
                ws="none",
                log_config=None,
                access_log=False,
                lifespan="off",
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=int(grace) or 1,
            )
        )
        self._guard = guard

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do not handle signals."""
        yield

    def stop(self) -> None:
        """Refuse new requests; `serve` returns when those under way are answered."""
        self._guard.close()
        self.should_exit = True


def busy(protocol: asyncio.Protocol) -> bool:
    """Return whether uvicorn is working on a request of this connection."""
    cycle = cast(H11Protocol, protocol).cycle
    return cycle is not None and not cycle.response_complete
