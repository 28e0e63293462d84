# SPDX-License-Identifier: Apache-2.0
"""Lines that wait for a descriptor, and are written to it only as far as it takes them without blocking."""

from __future__ import annotations

import os
import select
import stat
import time
from collections import deque

CHUNK = getattr(select, "PIPE_BUF", 512)
"""A pipe that is ready takes so many bytes without blocking, and as a whole."""
BLOCK = 1024**2


class Lines:
    """A bounded queue of lines before a descriptor.

    A pipe or socket is asked before each piece whether it takes it; files and terminals are just written. The
    descriptor is not made non-blocking: that would hold for everybody who shares it, such as standard error. Lines
    of several processes on one pipe stay apart as far as they are no longer than CHUNK.

    Args:
        fd: where to write.
        most_bytes: what would make more than this wait is dropped and counted.
    """

    def __init__(self, fd: int, most_bytes: int) -> None:
        self._fd = fd
        self._most = most_bytes
        self._queue: deque[bytes] = deque()
        self._poll: select.poll | None = None
        self._opened = False
        self._busy = False
        self._begun = False  # the first in the queue is the rest of a line
        self._deadline = 0.0
        self._untold = 0
        self.waiting = 0
        self.dropped = 0
        self.stuck = False

    def add(self, line: bytes) -> None:
        """Queue a line, its newline included, or drop it when there is no room."""
        if self.waiting + len(line) > self._most:
            self._drop(1)
            return
        self._queue.append(line)
        self.waiting += len(line)

    def patience(self, seconds: float) -> None:
        """From now on, for so long, `write` waits for a reader who does not read yet."""
        self._deadline = time.monotonic() + seconds

    def write(self) -> None:
        """Write what the descriptor takes; what it does not take stays.

        Nothing is raised: when nobody is there to read any more, what waits is dropped and counted.
        """
        if self._busy:  # a signal came while we write: that writing goes on, with the patience given since
            return
        self._busy = True
        try:
            self._drain()
            if self._untold and not self._begun and self.waiting < self._most // 2 and self._ready():
                self._tell()
        except OSError:
            self._drop(len(self._queue))
            self._queue.clear()
            self.waiting, self._begun = 0, False
        finally:
            self._busy = False
        self.stuck = self.waiting > 0

    def _drain(self) -> None:
        if not self._opened:
            self._open()
        while self._queue and self._ready():
            piece = self._piece()
            try:
                written = os.write(self._fd, piece)
            except BlockingIOError:  # somebody made it non-blocking, and another writer was quicker
                self._queue.appendleft(piece)
                return
            except OSError:
                self._drop(piece.count(b"\n"))  # a line without its end has its rest in the queue
                raise
            self.waiting -= written
            if written < len(piece):
                self._queue.appendleft(piece[written:])
            self._begun = not piece[:written].endswith(b"\n")

    def _open(self) -> None:
        mode = os.fstat(self._fd).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
            self._poll = select.poll()
            self._poll.register(self._fd, select.POLLOUT)
        self._opened = True

    def _ready(self) -> bool:
        if self._poll is None:
            return True
        left = self._deadline - time.monotonic() if self._deadline else 0.0
        return bool(self._poll.poll(max(0.0, left) * 1000))

    def _piece(self) -> bytes:
        """Whole lines as far as one write takes them; of a longer line, its beginning."""
        most, queue = CHUNK if self._poll else BLOCK, self._queue
        piece = queue.popleft()
        if len(piece) > most:
            queue.appendleft(piece[most:])
            return piece[:most]
        whole, size = [piece], len(piece)
        while queue and size + len(queue[0]) <= most:
            size += len(queue[0])
            whole.append(queue.popleft())
        return b"".join(whole)

    def _drop(self, lines: int) -> None:
        self.dropped += lines
        self._untold += lines

    def _tell(self) -> None:
        now, nanos = divmod(time.time_ns(), 1_000_000_000)
        line = (
            b'{"severity":"WARNING","message":"%d lines of the prediction log were dropped: standard output is not '
            b'read quickly enough","timestamp":{"seconds":%d,"nanos":%d},"kind":"dropped","dropped":%d}\n'
        ) % (self._untold, now, nanos, self._untold)
        os.write(self._fd, line)
        self._untold = 0
