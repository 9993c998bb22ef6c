"""A user's module `mine` for a service."""

import os
from pathlib import Path

from support.service import ROOT


def own_code(folder: Path, code: str, service: str = "subscriber") -> str:
    """The PYTHONPATH under which that service finds the module."""
    (folder / "mine.py").write_text(code)
    return os.pathsep.join([str(folder), str(ROOT / "services/fanout"), str(ROOT / "services" / service)])


def pause(kind: str) -> str:
    """A moment's wait in a function that is `def` or `async def`."""
    return "time.sleep(0.01)" if kind == "def" else "await __import__('asyncio').sleep(0.01)"
