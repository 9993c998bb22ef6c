"""A handler that stores all messages in SQLite: `HANDLER=handlers.archive:Archive docker compose up`."""

import json
import os
import sqlite3
from pathlib import Path

from fanout.message import Message


class Archive:
    """Stores messages; one object per subscriber. All its methods are called in one thread, as SQLite requires."""

    def setup(self) -> None:
        """Open the database. Called once, before the first message; if it raises, the subscriber ends."""
        folder = Path(os.environ.get("DATA_DIR", "."))  # outlives the containers, and is shared by all subscribers
        self.database = sqlite3.connect(folder / f"{os.environ['INSTANCE']}.db")
        self.database.execute(
            "CREATE TABLE IF NOT EXISTS messages (channel, source, id, data, PRIMARY KEY (source, id))"
        )

    def handle(self, message: Message) -> None:
        """Store a message. Called for each one; after a crash, those of the last second come again: OR IGNORE."""
        row = (message.channel, message.source or None, message.id or None, json.dumps(message.data, default=repr))
        with self.database:  # commits
            self.database.execute("INSERT OR IGNORE INTO messages VALUES (?, ?, ?, ?)", row)

    def teardown(self) -> None:
        """Close the database. Called once, after the last message, if that is handled within SHUTDOWN_GRACE."""
        self.database.close()
