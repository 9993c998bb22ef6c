"""A Flask app that publishes: `flask --app flask_view run`. REDIS_URL says where Redis is.

All threads of the process share one publisher. It connects at the first request, so the server may fork before.
"""

from flask import Flask, request
from flask.typing import ResponseReturnValue

from fanout import NotAccepted
from fanout.blocking import Publisher

app = Flask(__name__)
publisher = Publisher.from_environment()


@app.post("/orders")
def place_order() -> ResponseReturnValue:
    """Publish an order."""
    try:
        accepted = publisher.publish("orders", request.get_json(), timeout=2)
    except (TimeoutError, NotAccepted) as error:
        return {"error": str(error)}, 503, {"Retry-After": "1"}
    return {"source": accepted.source, "id": accepted.id}, 202
