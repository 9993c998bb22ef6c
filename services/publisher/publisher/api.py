"""The HTTP API: POST a message, ask how the publisher is, read about it at /docs."""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Header, HTTPException, Request, Response
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel

from fanout.errors import NotAccepted, SettingError
from fanout.message import JSON, TEXT, EventTooLarge
from fanout.writer import Writer

ANSWER_WITHIN = 10.0
RETRY_AFTER = {"Retry-After": "1"}
_TEXT_TYPES = ("", TEXT, "application/x-www-form-urlencoded")  # the last is what `curl -d` says


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
        idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
    ) -> Published:
        """Publishes the body, text or any JSON value, and answers when Redis has accepted it.

        A request that is sent again with the same Idempotency-Key within 24 h publishes once, and answers the same.
        """
        data, datacontenttype = await _read(request, max_event)
        if writer.full:
            raise HTTPException(503, "the buffer is full: Redis takes messages too slowly, or not at all", RETRY_AFTER)
        try:
            accepted = writer.enqueue(
                channel, data, datacontenttype=datacontenttype, traceparent=traceparent, key=idempotency_key
            )
            source, seq, streamid = await asyncio.wait_for(asyncio.shield(accepted), ANSWER_WITHIN)
        except EventTooLarge as error:
            raise HTTPException(413, str(error)) from None
        except ValueError as error:
            raise HTTPException(400, str(error)) from None
        except NotAccepted as error:
            raise HTTPException(503, f"Redis may not have the event: {error}", RETRY_AFTER) from None
        except TimeoutError:
            why = f"Redis has not accepted the event within {ANSWER_WITHIN:g} s; it is sent when Redis is back"
            raise HTTPException(503, why, RETRY_AFTER) from None
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


async def _read(request: Request, max_event: int) -> tuple[Any, str]:
    """The body as data with its type."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (*_TEXT_TYPES, JSON):
        raise HTTPException(415, f"the body is {kind}, but must be {TEXT} or {JSON}")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_event:
            raise HTTPException(413, f"the body has more than MAX_EVENT ({max_event}) bytes")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise HTTPException(400, "the body is not valid UTF-8") from None
    if kind != JSON:
        return text, TEXT
    try:
        return json.loads(text, parse_constant=_refuse), JSON
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the body is not valid JSON: {error}") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON value")


def listen(host: str, port: int) -> socket.socket:
    """The socket of the API.

    Raises:
        SettingError: host and port cannot be used.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise SettingError(
            "HTTP_HOST:HTTP_PORT", f"{host}:{port}", f"an address that is free ({error.strerror})"
        ) from None


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
