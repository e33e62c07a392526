"""A teacher's answers to many texts: asked for once, part after part, whoever else has texts that begin alike."""

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
    folder: Path,
    encoded: Encoded,
    ask: Callable[[Encoded], Logits],
    progress: Progress,
    part_texts: int = PART_TEXTS,
    shared: Path | None = None,
) -> Logits:
    """What `ask` says of all texts, memory-mapped out of `folder`; [n, …] or [tokens, …], as it answers.

    Whoever comes second waits for the first, and a kill costs no more than a part. A display is shown where there is
    more than one part. Where a folder is `shared` by those who are asked in the same way, the parts stay there, each
    found by its texts: a longer run has the copies of a shorter one, and more.
    """
    path, starts = folder / LOGITS_FILE, range(0, len(encoded), part_texts)
    folder.mkdir(parents=True, exist_ok=True)
    (shared or folder).mkdir(parents=True, exist_ok=True)
    with FileLock((shared or folder) / ".lock"):
        if not path.is_file():
            texts = {start: encoded.slice(start, start + part_texts) for start in starts}
            parts = {start: (shared or folder) / f"part-{one.texts_hash}.npy" for start, one in texts.items()}
            missing = [start for start in starts if not parts[start].is_file()]
            display = progress if len(parts) > 1 else Progress(quiet=True)
            with display.task("asking the teacher", len(parts), len(parts) - len(missing)) as shown:
                for start in missing:
                    _save(parts[start], ask(texts[start]))
                    shown.advance()
            _save(path, np.concatenate([np.load(part) for part in parts.values()]))
            for part in folder.glob("part-*.npy"):
                part.unlink()
    logits: Logits = np.load(path, mmap_mode="r")
    return logits
