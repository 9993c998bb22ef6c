"""What clients were given last, in that order: a client that comes back with an ID of it goes on exactly there."""

import itertools
from collections import deque
from collections.abc import Sequence

from gateway.frames import Frame

RING_FRAMES = 10_000


class Ring:
    """The most recent frames of a channel, bounded in number and bytes. A place counts all frames there ever were.

    `start` is the place of the oldest frame, `end` the place of the next one to come.
    """

    def __init__(self) -> None:
        self._frames: deque[Frame] = deque()
        self._places: dict[str, int] = {}
        self._bytes = 0
        self.start = self.end = 0

    def extend(self, frames: Sequence[Frame], limit: int) -> None:
        """Adds frames, and lets go of the oldest that are more than `limit` bytes."""
        for frame in frames:
            if frame.position:
                self._places[frame.position.streamid] = self.end
            self._frames.append(frame)
            self._bytes += len(frame.data)
            self.end += 1
        while self._frames and (self._bytes > limit or len(self._frames) > RING_FRAMES):
            oldest = self._frames.popleft()
            self._bytes -= len(oldest.data)
            if oldest.position and self._places.get(oldest.position.streamid) == self.start:
                del self._places[oldest.position.streamid]
            self.start += 1

    def after(self, streamid: str) -> int | None:
        """The place that follows the frame of this ID; None if it is not here."""
        place = self._places.get(streamid)
        return None if place is None else place + 1

    def frames(self, begin: int, end: int) -> list[Frame]:
        """The frames of these places, as far as they are here."""
        low = max(begin, self.start) - self.start
        return list(itertools.islice(self._frames, low, max(low, end - self.start)))
