"""An example handler to start from: `HANDLER=handlers.example:handle docker compose up`."""

import structlog

from fanout.message import Message

log = structlog.get_logger()


def handle(message: Message) -> None:
    """Handle a message. It may block, since it runs in a separate thread; `async def` works too."""
    log.info("handled", channel=message.channel, length=len(str(message.data)))
