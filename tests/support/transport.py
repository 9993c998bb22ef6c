"""A transport without a network."""

import asyncio


class Transport(asyncio.Transport):
    """One whose peer reads as much as a test says."""

    def __init__(self) -> None:
        super().__init__({"peername": ("10.0.0.1", 5)})
        self.written, self.waiting, self.open = b"", 0, True

    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.written += data
        self.waiting += len(data)

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return not self.open

    def abort(self) -> None:
        self.open = False
