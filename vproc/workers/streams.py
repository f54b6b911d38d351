"""What becomes of a child's output: lines, and the end of what it said. Both are bounded whatever the child writes."""

from __future__ import annotations

from collections.abc import Callable

LINE_LIMIT_BYTES = 64 * 1024


class LineSplitter:
    """Bytes to lines, without their ends. What exceeds `LINE_LIMIT_BYTES` of a line is dropped."""

    def __init__(self, hear: Callable[[str], None]) -> None:
        self._hear = hear
        self._partial = bytearray()

    def feed(self, data: bytes) -> None:
        """Hear each line that is complete by now."""
        *whole, rest = data.split(b"\n")
        for piece in whole:
            self._keep(piece)
            self._say()
        self._keep(rest)

    def flush(self) -> None:
        """Hear the last line, where it has no end."""
        if self._partial:
            self._say()

    def _keep(self, piece: bytes) -> None:
        self._partial += piece[: LINE_LIMIT_BYTES - len(self._partial)]

    def _say(self) -> None:
        line = self._partial.decode(errors="replace").removesuffix("\r")
        self._partial.clear()
        self._hear(line)


class Tail:
    """The last so many bytes of a stream."""

    def __init__(self, kept_bytes: int) -> None:
        self._kept_bytes = kept_bytes
        self._bytes = bytearray()

    def feed(self, data: bytes) -> None:
        """Keep these, drop what is too old."""
        self._bytes += data
        del self._bytes[: -self._kept_bytes]

    def text(self) -> str:
        """As text of no more characters than bytes are kept, control and invisible characters escaped."""
        text = self._bytes.decode(errors="replace")
        shown = (c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
        return "".join(shown)[-self._kept_bytes :]
