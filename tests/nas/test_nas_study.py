"""Trials on disk: a killed search loses none, doubles none, and ends as an undisturbed one."""

from pathlib import Path

import numpy as np
import optuna
import pytest
from nas_synthetic import problem, quality
from optuna.trial import TrialState

from nas.controllers import CONTROLLERS
from nas.study import Code, Outcome, Trial, open_study, run_trials
from runs.errors import UserError
from runs.progress import Progress


class Killed(BaseException):
    pass


class Bench:
    """Tries candidates by formula; may be cut down in the middle of the n-th attempt of its life."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.attempts: list[Code] = []
        self.dies_at = dies_at

    def __call__(self, code: Code) -> Outcome:
        self.attempts.append(code)
        if len(self.attempts) == self.dies_at:
            raise Killed
        reward = float(quality(problem().space, np.array([code]))[0])
        return Outcome(reward, {"ms": 2 * reward, "seconds": 0.1})


def search(path: Path, bench: Bench, seed: int = 0, name: str = "6ms") -> list[Trial]:
    case = problem(exploration_step=0.3, pool_size=400)
    genes = list(zip(case.space.genes, case.space.cardinalities, strict=True))
    controller = CONTROLLERS["kd-nas"](case, seed)
    return run_trials(open_study(path, name), controller, genes, 3, 4, bench, Progress(quiet=True), "trying")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Trial]:
    """The trials of an undisturbed search."""
    return search(tmp_path_factory.mktemp("whole") / "study.db", Bench())


@pytest.mark.parametrize("dies_at", [1, 5, 12])
def test_killed_search_ends_as_an_undisturbed_one(tmp_path: Path, whole: list[Trial], dies_at: int) -> None:
    cut = Bench(dies_at)
    with pytest.raises(Killed):
        search(tmp_path / "cut.db", cut)
    rest = Bench()
    assert search(tmp_path / "cut.db", rest) == whole
    assert len(cut.attempts) - 1 + len(rest.attempts) == len(whole) == 12
    stored = open_study(tmp_path / "cut.db", "6ms").trials
    assert [trial.number for trial in stored] == list(range(12))
    assert all(trial.state == TrialState.COMPLETE for trial in stored)
    assert rest.attempts[0] == whole[dies_at - 1].codes, "the trial that was cut short keeps its number"


def test_finished_search_tries_nothing_again(tmp_path: Path) -> None:
    first = search(tmp_path / "study.db", Bench())
    again = Bench()
    assert search(tmp_path / "study.db", again) == first
    assert again.attempts == []


def test_optuna_sees_genes_rewards_and_details(tmp_path: Path) -> None:
    trials = search(tmp_path / "study.db", Bench())
    study = optuna.load_study(study_name="6ms", storage=f"sqlite:///{tmp_path / 'study.db'}")
    best = max(trials, key=lambda trial: trial.reward)
    assert study.best_value == best.reward
    assert tuple(study.best_params[name] for name in problem().space.genes) == best.codes
    assert study.best_trial.user_attrs["codes"] == list(best.codes)
    assert study.best_trial.user_attrs["ms"] == best.details["ms"]


def test_budgets_have_studies_of_their_own(tmp_path: Path) -> None:
    search(tmp_path / "study.db", Bench())
    other = Bench()
    search(tmp_path / "study.db", other, name="4ms")
    assert len(other.attempts) == 12


def test_another_search_in_the_same_study_is_refused(tmp_path: Path) -> None:
    search(tmp_path / "study.db", Bench())
    with pytest.raises(UserError, match="trial 0 .*another --output"):
        search(tmp_path / "study.db", Bench(), seed=1)


def test_a_file_that_is_no_study_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(b"not a database at all, but long enough to be looked at" * 40)
    with pytest.raises(UserError, match="not an Optuna study"):
        open_study(tmp_path / "study.db", "6ms")
