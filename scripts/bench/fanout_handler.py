"""A HANDLER for Fanout's subscriber: keeps each message's age, and prints all of them when COUNT have come."""

import json
import os
import time
from typing import Any

COUNT = int(os.environ.get("COUNT", "0"))
_ages: list[float] = []


def handle(message: Any) -> None:
    """Takes a fanout.message.Message; its age counts from the time that its publisher gave it."""
    age = message.age_ms(time.time())
    _ages.append(-1.0 if age is None else round(age * 1000, 1))
    if len(_ages) == COUNT:
        print(json.dumps(_ages), flush=True)
