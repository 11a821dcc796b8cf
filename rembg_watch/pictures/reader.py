"""
Read a file where it is asked for: a few bytes at a time, by their offset, and never all of it at once.

The readers of the formats follow lengths that a file states about itself. Nothing is allocated for
such a length, and what lies between two places that matter is never fetched.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Any, Self

HEAD_BYTES = 64 << 10
"""As much of the beginning as nearly every header needs; it is read in one go."""

BITE_BYTES = 4 << 10
"""As much as is read at any other place, so that the next few fields come with the first."""

BLOCK_BYTES = 1 << 20
"""As much as is read at once, at most, where something is searched for."""


class Reader:
    """
    One file of a known length.

    Args:
        pread: Returns so many bytes from an offset on; fewer only at the end.
        size_bytes: How long the file is.
    """

    def __init__(self, pread: Callable[[int, int], bytes], size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.head = pread(HEAD_BYTES, 0)
        self._pread = pread
        self._bite, self._bite_at = b"", 0

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Read from memory."""
        return cls(lambda count, at: data[at : at + count], len(data))

    def read(self, at: int, count: int) -> bytes:
        """Return *count* bytes from *at* on, or as many as there are; whoever asks sees to it that they are few."""
        count = min(count, self.size_bytes - at)
        if at < 0 or count <= 0:
            return b""
        if at + count <= len(self.head):
            return self.head[at : at + count]
        if count >= BITE_BYTES:
            return self._pread(count, at)
        if not self._bite_at <= at <= at + count <= self._bite_at + len(self._bite):
            self._bite, self._bite_at = self._pread(BITE_BYTES, at), at
        return self._bite[at - self._bite_at : at - self._bite_at + count]

    def unpack(self, layout: str, at: int) -> tuple[Any, ...] | None:
        """Unpack numbers, or return None where the file ends too soon."""
        data = self.read(at, struct.calcsize(layout))
        return struct.unpack(layout, data) if len(data) == struct.calcsize(layout) else None

    def tail(self, count: int) -> tuple[bytes, int]:
        """Return the last *count* bytes, and where they begin."""
        at = max(0, self.size_bytes - count)
        return self.read(at, count), at

    def blocks(self, at: int) -> Iterator[tuple[bytes, int]]:
        """Yield everything from *at* on, block by block, and where each begins; what is searched is mostly near."""
        count = BITE_BYTES
        while block := self.read(at, count):
            yield block, at
            at += len(block)
            count = min(16 * count, BLOCK_BYTES)

    def is_blank(self, begin: int, end: int) -> bool:
        """Say if nothing but zeros lies in between; it is looked at from its end, where most are told apart at once."""
        end = min(end, self.size_bytes)
        if begin >= end:
            return False
        step = BITE_BYTES
        while begin < end:
            at = max(begin, end - step)
            if self.read(at, end - at) != bytes(end - at):
                return False
            end, step = at, BLOCK_BYTES
        return True
