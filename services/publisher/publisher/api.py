"""The HTTP API: POST messages, check the publisher's health, and read the documentation at /docs."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, cast

import uvicorn
from fastapi import FastAPI, Header, HTTPException, Request, Response
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel
from uvicorn.protocols.http.h11_impl import H11Protocol

from fanout import Publisher
from fanout._event.encode import JSON, TEXT
from fanout.service.http_body import BATCH, STRUCTURED, Refused
from fanout.service.http_guard import Guard
from fanout.service.http_ingest import Ingest, as_json
from publisher.front import Front

BACKLOG = 1024
KEEP_ALIVE = 15
"""Seconds that a connection may be idle between two requests."""


class Published(BaseModel):
    """The accepted event: `source` and `id` identify it for all time, `streamid` is its place in history."""

    source: str
    id: str
    streamid: str | None = None


def build(publisher: Publisher, ingest: Ingest, *, docs: bool) -> FastAPI:
    """Build the application, which gets paths percent-encoded; `docs` adds the page at /docs."""
    about: dict[str, Any] = {"title": "Fanout publisher", "version": "1", "redirect_slashes": False, "redoc_url": None}
    app = FastAPIOffline(**about) if docs else FastAPI(**about, openapi_url=None)
    body: dict[str, Any] = {
        "requestBody": {
            "required": True,
            "content": {
                TEXT: {"schema": {"type": "string"}},
                JSON: {"schema": {}},
                STRUCTURED: {"schema": {"type": "object"}},
                BATCH: {"schema": {"type": "array"}},
                "*/*": {"schema": {"type": "string", "format": "binary"}},
            },
        }
    }
    errors: dict[int | str, dict[str, Any]] = {
        400: {"description": "The channel's name or the body is not valid."},
        401: {"description": "There is no token, or it is not valid.", "headers": {"WWW-Authenticate": {}}},
        413: {"description": "The event would be longer than MAX_EVENT."},
        403: {"description": "The page's origin, the Host name or the channel is not allowed, or not by the token."},
        415: {"description": "The body is encoded, or in another charset than UTF-8."},
        422: {"description": "The Idempotency-Key is not valid."},
        429: {"description": "Too many tokens of this address were not valid.", "headers": {"Retry-After": {}}},
        503: {
            "description": "Redis has not accepted the event, or the buffer is full.",
            "headers": {"Retry-After": {}},
        },
    }

    @app.post(
        "/channels/{channel}/messages",
        status_code=202,
        responses=errors,
        openapi_extra=body,
        response_model_exclude_none=True,
    )
    async def publish(
        channel: str,  # noqa: ARG001 # these three arguments document the API
        request: Request,
        traceparent: Annotated[str | None, Header()] = None,  # noqa: ARG001
        idempotency_key: Annotated[str | None, Header()] = None,  # noqa: ARG001
    ) -> Published | list[Published]:
        """Publish the body, and answer when Redis has accepted it.

        Text, JSON or anything else is the data of an event. CloudEvents are accepted in their structured, binary and
        batched modes, and keep their attributes. A request that is sent again within 24 h with the same
        Idempotency-Key, or within 10 minutes with an event of the same source and id, is published once and gets the
        same answer.
        """
        peer = request.client.host if request.client else ""
        try:
            accepted = await ingest.take(peer, request.url.path, request.headers, request.stream())
        except Refused as error:
            raise HTTPException(error.status, str(error), error.headers) from None
        except asyncio.CancelledError:  # the server's shutdown timeout has passed
            raise HTTPException(503, "the publisher ends, and Redis has not accepted the event") from None
        return cast(Published | list[Published], as_json(accepted))

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Answer as long as the process works."""
        return {"status": "ok"}

    @app.get("/readyz", responses={503: {"description": "There is no connection to Redis."}})
    async def readyz(response: Response) -> dict[str, str | int]:
        """Report whether Redis is connected, and how many messages wait for it."""
        response.status_code = 200 if publisher.redis else 503
        return {"redis": "connected" if publisher.redis else "connecting", "waiting": publisher.statistics().waiting}

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
