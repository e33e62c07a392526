"""What a process that works for another needs: an answer channel of its own, and an end when its parent ends."""

import os
import threading
from collections.abc import Iterator
from io import TextIOWrapper
from queue import SimpleQueue
from typing import TextIO


def die_with_parent(stdin: TextIO) -> None:
    """End this process when its standard input closes, which it does when the parent is gone, however it went."""

    def watch() -> None:
        stdin.read()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def requests(stdin: TextIO) -> Iterator[str]:
    """The parent's lines as they are asked for; this process ends when they do, whatever it is at work on then."""
    lines = SimpleQueue[str]()

    def read() -> None:
        for line in stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield lines.get()


def answers_only() -> TextIO:
    """Standard output for answers alone: what libraries print there goes to standard error from now on."""
    private = os.dup(1)
    os.dup2(2, 1)
    return TextIOWrapper(os.fdopen(private, "wb"), encoding="utf-8", line_buffering=True)
