"""A teacher's answers to many texts: asked for once, part after part, so that a kill costs no more than a part."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from distill.batches import Encoded
from distill.evaluation import Logits
from runs.progress import Progress

LOGITS_FILE = "logits.npy"
PART_TEXTS = 4096


def _save(path: Path, values: npt.NDArray[np.float32]) -> None:
    part = path.with_suffix(".new.npy")
    np.save(part, values)
    part.replace(path)


def stored_answers(
    folder: Path, encoded: Encoded, ask: Callable[[Encoded], Logits], progress: Progress, part_texts: int = PART_TEXTS
) -> Logits:
    """What `ask` says of all texts, memory-mapped out of `folder`; [n, …] or [tokens, …], as it answers.

    Whoever comes second waits for the first. A display is shown where there is more than one part.
    """
    path, starts = folder / LOGITS_FILE, range(0, len(encoded), part_texts)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        if not path.is_file():
            parts = {start: folder / f"part-{start}.npy" for start in starts}
            missing = [start for start in starts if not parts[start].is_file()]
            display = progress if len(parts) > 1 else Progress(quiet=True)
            with display.task("asking the teacher", len(parts), len(parts) - len(missing)) as shown:
                for start in missing:
                    _save(parts[start], ask(encoded.slice(start, start + part_texts)))
                    shown.advance()
            _save(path, np.concatenate([np.load(part) for part in parts.values()]))
            for part in folder.glob("part-*.npy"):
                part.unlink()
    logits: Logits = np.load(path, mmap_mode="r")
    return logits
