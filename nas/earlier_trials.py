"""What other searches' candidates were worth: of this run's budgets before, and of runs of the same data and space."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas.budget import Budget
from nas.controllers import Codes
from nas.methods import METHODS
from nas.settings import SearchSettings
from runs.errors import UserError
from runs.folder import RunFolder, read_run
from students.space import SearchSpace, space
from students.space_file import choices_hash

SPACE = "space"
"""The stage that says what the space was, whatever its file says today."""

SEARCHED = " search"
"""How the stage of a budget's candidates ends."""


@dataclass(frozen=True)
class EarlierTrials:
    """The candidates of one budget [n, genes] and their rewards."""

    codes: Codes
    rewards: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """As `trials_from_json` reads it."""
        return {"codes": self.codes.tolist(), "rewards": list(self.rewards)}


def trials_from_json(value: dict[str, Any]) -> EarlierTrials:
    """What `EarlierTrials.to_json` or the stage of a budget's candidates says."""
    trials = value.get("trials")
    if trials is None:
        return EarlierTrials(np.array(value["codes"], dtype=np.int64), tuple(value["rewards"]))
    codes = np.array([trial["codes"] for trial in trials], dtype=np.int64)
    return EarlierTrials(codes, tuple(float(trial["reward"]) for trial in trials))


def read_trials(settings: SearchSettings, data: str) -> tuple[EarlierTrials, ...]:
    """Those of the runs that `--learn-from` names; `data` is the content hash of this search's.

    Raises `UserError` for a run of another kind, of other data, of another space, without any candidate, or whose own
    candidates were foretold.
    """
    chosen = space(settings.space_name)
    folders = dict.fromkeys(Path(folder).absolute() for folder in settings.learn_from)
    return tuple(trials for folder in folders for trials in _of_run(folder, chosen, data))


def _of_run(folder: Path, chosen: SearchSpace, data: str) -> list[EarlierTrials]:
    run = read_run(folder, "search", "--learn-from")
    if METHODS[run.settings["method"]].foretells:
        raise UserError(
            f"the search in {folder} tried no candidate itself, but foretold them from other searches: name those."
        )
    theirs = Path(str(run.settings["space"])).stem
    if theirs != chosen.name:
        raise UserError(
            f"the search in {folder} was of the space {theirs}, and this one is of {chosen.name}: candidates of "
            "another space say nothing here; name a search of the same one, or leave --learn-from away."
        )
    stored = run.result("data")
    if stored is not None and stored["content_hash"] != data:
        raise UserError(
            f"the search in {folder} was of other data than this one: what its candidates were worth there says "
            "nothing here; name a search of the same data, or leave --learn-from away."
        )
    found = [trials_from_json(run.result(name) or {}) for name in run.stages() if name.endswith(SEARCHED)]
    if not found:
        raise UserError(f"the search in {folder} has not tried all candidates of any budget yet: let it go on first.")
    if (run.result(SPACE) or {}).get("choices") != choices_hash(chosen.choices):
        raise UserError(
            f"the search in {folder} was of another space than what {chosen.name} is now, or of an earlier version "
            "that did not keep what it was: candidates of another space say nothing here; leave --learn-from away."
        )
    return found


def trials_before(
    run: RunFolder, budgets: Sequence[Budget], budget: Budget, earlier: Sequence[EarlierTrials]
) -> list[EarlierTrials]:
    """Those of earlier runs, and of each of this run's budgets that was searched before, in the order of budgets."""
    found = list(earlier)
    for other in budgets[: budgets.index(budget)]:
        searched = run.result(f"{other.label}{SEARCHED}")
        if searched is not None:
            found.append(trials_from_json(searched))
    return found
