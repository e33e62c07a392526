"""Tasks as the benchmarks are given them: what results call each, and the folder of its data."""

from collections.abc import Sequence

from runs.errors import UserError


def named_folders(tasks: Sequence[str]) -> dict[str, str]:
    """NAME=FOLDER of each; `UserError` for one without a name."""
    for one in tasks:
        if "=" not in one:
            raise UserError(f"{one!r} is no task: give NAME=FOLDER, as in trec=data/trec.")
    return dict(one.split("=", 1) for one in tasks)
