"""What clients were given last, in order: a client that comes back with an ID from it continues exactly there."""

import itertools
from collections import deque
from collections.abc import Sequence

from fanout._subscribe.cursor import Position
from gateway.frames import Frame

RING_FRAMES = 10_000
FRAME_BYTES = 600
"""Bytes of memory that a frame takes beside its data."""


class Ring:
    """The most recent frames of a channel, bounded in number and bytes.

    A place is a frame's index among all frames that there ever were.

    Attributes:
        start: the place of the oldest frame.
        end: the place of the next frame to come.
    """

    def __init__(self) -> None:
        self._frames: deque[Frame] = deque()
        self._places: dict[Position, int] = {}
        self._bytes = 0
        self.start = self.end = 0

    def extend(self, frames: Sequence[Frame], limit: int) -> None:
        """Add frames, and drop the oldest ones beyond `limit` bytes."""
        for frame in frames:
            if frame.position:
                self._places[frame.position] = self.end
            self._frames.append(frame)
            self._bytes += len(frame.data) + FRAME_BYTES
            self.end += 1
        self.trim(limit)

    def trim(self, limit: int) -> None:
        """Drop the oldest frames until at most `limit` bytes remain."""
        while self._frames and (self._bytes > limit or len(self._frames) > RING_FRAMES):
            oldest = self._frames.popleft()
            self._bytes -= len(oldest.data) + FRAME_BYTES
            if oldest.position and self._places.get(oldest.position) == self.start:
                del self._places[oldest.position]
            self.start += 1

    def after(self, position: Position) -> int | None:
        """Return the place after the frame with that position; None if the ring does not have the frame."""
        place = self._places.get(position)
        return None if place is None else place + 1

    def frames(self, begin: int, end: int) -> list[Frame]:
        """Return the frames from place `begin` to before `end`, as far as the ring has them."""
        low = max(begin, self.start) - self.start
        return list(itertools.islice(self._frames, low, max(low, end - self.start)))


NO_FRAMES = Ring()
"""Stands for the ring of a channel on which nothing was given yet; nothing is added to it."""
