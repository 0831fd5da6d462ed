"""A file-like object whose bytes are taken out as they come, for archives made while they are sent."""

from __future__ import annotations

from collections.abc import Iterator


class Pipe:
    """Takes writes, cannot seek, and gives the bytes back in pieces."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._position = 0

    def write(self, data: bytes) -> int:
        """Append."""
        self._pieces.append(bytes(data))
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        """How much was written."""
        return self._position

    def flush(self) -> None:
        """Nothing to do."""

    def taken(self) -> Iterator[bytes]:
        """What was written since the last call."""
        pieces, self._pieces = self._pieces, []
        yield from pieces
