"""A FastAPI app that publishes: `uvicorn fastapi_app:app`. REDIS_URL says where Redis is.

All requests share one publisher, which lives as long as the app.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Body, FastAPI, Header, HTTPException, Request

from fanout import KeyReused, NotAccepted, Publisher


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with Publisher.from_environment() as publisher:
        app.state.publisher = publisher
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/orders", status_code=202)
async def place_order(
    request: Request, order: Annotated[dict[str, Any], Body()], idempotency_key: Annotated[str | None, Header()] = None
) -> dict[str, str]:
    """Publish an order. A client that tries again sends the same Idempotency-Key."""
    publisher: Publisher = request.app.state.publisher
    try:
        accepted = await publisher.publish("orders", order, key=idempotency_key, timeout=2)
    except KeyReused as error:
        raise HTTPException(422, str(error)) from None
    except (TimeoutError, NotAccepted) as error:
        raise HTTPException(503, str(error), {"Retry-After": "1"}) from None
    return {"source": accepted.source, "id": accepted.id}
