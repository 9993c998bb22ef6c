"""A handler to start from: `HANDLER=handlers.example:handle docker compose up`."""

import structlog

from fanout.message import Message

log = structlog.get_logger()


def handle(message: Message) -> None:
    """Called once a message. May block: it runs in a thread of its own. `async def` works too."""
    log.info("handled", channel=message.channel, length=len(str(message.data)))
