"""Gives unused memory back to the system: the C library keeps what a burst took, scattered among blocks in use."""

import asyncio
import ctypes

EVERY = 10.0
WORTH = 4 * 2**20
"""Bytes that must be unused, else giving them back is not worth the page faults when they are needed again."""


class _MallInfo(ctypes.Structure):
    """The structure that glibc's mallinfo2 returns."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "used", "idle", "keepcost")
    ]


async def give_back() -> None:
    """Give unused memory back every EVERY seconds; return at once if the C library is not glibc 2.33 or later."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):
        return
    libc.mallinfo2.restype = _MallInfo
    while True:
        await asyncio.sleep(EVERY)
        if libc.mallinfo2().idle > WORTH:
            libc.malloc_trim(0)
