"""The HTTP API: POST a message, ask how the publisher is, read about it at /docs."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Header, HTTPException, Request, Response
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel

from fanout import intake
from fanout.message import JSON, TEXT
from fanout.writer import Writer


class Published(BaseModel):
    """The accepted event: `source` and `id` identify it for all time, `streamid` is its place in history."""

    source: str
    id: str
    streamid: str | None = None


def build(writer: Writer, max_event: int) -> FastAPI:
    """The application, publishing through the writer."""
    app: FastAPI = FastAPIOffline(title="Fanout publisher", version="1", redoc_url=None)
    body: dict[str, Any] = {
        "requestBody": {
            "required": True,
            "content": {TEXT: {"schema": {"type": "string"}}, JSON: {"schema": {}}},
        }
    }
    errors: dict[int | str, dict[str, Any]] = {
        400: {"description": "The channel's name or the body is not valid."},
        413: {"description": "The event would be longer than MAX_EVENT."},
        415: {"description": "The body is neither text nor JSON."},
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
        channel: str,
        request: Request,
        traceparent: Annotated[str | None, Header()] = None,
        idempotency_key: Annotated[str | None, Header(min_length=1, max_length=intake.LONGEST_KEY)] = None,
    ) -> Published:
        """Publishes the body, text or any JSON value, and answers when Redis has accepted it.

        A request that is sent again with the same Idempotency-Key within 24 h publishes once, and answers the same.
        """
        try:
            data, kind = await intake.read(request.headers.get("content-type", ""), request.stream(), max_event)
            source, seq, streamid = await intake.publish(writer, channel, data, kind, traceparent, idempotency_key)
        except intake.Refused as error:
            raise HTTPException(error.status, str(error), error.headers) from None
        except asyncio.CancelledError:  # by the server, at the end of its patience
            raise HTTPException(503, "the publisher ends, and Redis has not accepted the event") from None
        return Published(source=source, id=seq, streamid=streamid)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Answers as long as the process works."""
        return {"status": "ok"}

    @app.get("/readyz", responses={503: {"description": "There is no connection to Redis."}})
    async def readyz(response: Response) -> dict[str, str | int]:
        """Whether messages go straight to Redis, and how many wait."""
        response.status_code = 200 if writer.sender.redis else 503
        return {"redis": "connected" if writer.sender.redis else "connecting", "waiting": writer.waiting}

    return app


class Server(uvicorn.Server):
    """uvicorn in a loop that is not its own: signals stay with the service."""

    def __init__(self, app: FastAPI, grace: float) -> None:
        super().__init__(
            uvicorn.Config(
                app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=int(grace) or 1
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        """Takes no new request; `serve` returns when those under way are answered."""
        self.should_exit = True
