"""What native code prints, which no Python object sees, for the reasons that hide in it."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

OUTPUTS = (1, 2)


@contextmanager
def overheard() -> Iterator[Callable[[], list[str]]]:
    """Keep this process's standard output and error in a file; the function yielded gives its lines so far."""
    with tempfile.TemporaryFile() as kept:

        def lines() -> list[str]:
            kept.seek(0)
            return kept.read().decode(errors="replace").splitlines()

        sys.stdout.flush()
        sys.stderr.flush()
        private = [os.dup(descriptor) for descriptor in OUTPUTS]
        for descriptor in OUTPUTS:
            os.dup2(kept.fileno(), descriptor)
        try:
            yield lines
        finally:
            for descriptor, own in zip(OUTPUTS, private, strict=True):
                os.dup2(own, descriptor)
                os.close(own)
