"""What is to be learnt: finding a task by the embedded default's name, a local path or a hub name."""

from pathlib import Path

from distill.embedded import DEFAULT_TASK
from distill.examples import TASKS, Split, Task
from distill.hub_data import load_hub
from distill.local_data import load_local, looks_local
from runs.progress import Progress

__all__ = ["Split", "Task", "load_task"]


def load_task(source: str | None, progress: Progress, kind: str | None = None) -> Task:
    """The task that `--data` names: None for the embedded default, a known short name, a local path, or a hub name.

    `kind` names the kind of task where its columns do not tell it, as of plain texts for language models. Raises
    `UserError` where the source is missing or malformed, naming file and column.
    """
    if source is None or source in TASKS:
        return TASKS[source or DEFAULT_TASK](progress)
    path = Path(source).expanduser()
    if path.exists() or looks_local(source):
        return load_local(path, kind)
    return load_hub(source, progress, kind)
