"""A handler for the subscriber service, in services/subscriber/handlers/: `HANDLER=handlers.handler:handle make up`.

The service calls it for each message, in a thread of its own, so it may block.
"""

import json
import os
from pathlib import Path

from fanout import Message

FILE = Path(os.environ.get("ORDERS_FILE", "orders.jsonl"))


def handle(message: Message) -> None:
    """Append an order to a file unless the file has it: after a crash the last second's messages may come again."""
    line = json.dumps({"event": f"{message.source} {message.id}", "data": message.data})
    if not FILE.exists() or line not in FILE.read_text().splitlines():
        with FILE.open("a") as file:
            file.write(line + "\n")
