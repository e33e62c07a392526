"""Every candidate of a search as a trial of an Optuna study on disk, so that a killed search goes on where it was."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import DatabaseError

from nas.controllers.contract import Controller
from runs.errors import UserError
from runs.progress import Progress

Code = tuple[int, ...]


@dataclass(frozen=True)
class Outcome:
    """What trying a candidate gave: its reward, and plain numbers to keep beside it."""

    reward: float
    details: dict[str, float]


@dataclass(frozen=True)
class Trial:
    """A finished trial: `details` hold its milliseconds, losses and seconds."""

    number: int
    codes: Code
    reward: float
    details: dict[str, float]


def open_study(path: Path, name: str) -> optuna.Study:
    """The study `name` of the SQLite file at `path`, either made if missing; a `UserError` for a damaged file."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(
            storage=f"sqlite:///{path}", study_name=name, direction="maximize", load_if_exists=True
        )
    except DatabaseError:
        raise UserError(f"{path} is not an Optuna study: delete it to begin the search again.") from None


def run_trials(
    study: optuna.Study,
    controller: Controller,
    genes: Sequence[tuple[str, int]],
    episodes: int,
    candidates: int,
    attempt: Callable[[Code], Outcome],
    progress: Progress,
    label: str,
) -> list[Trial]:
    """Run `episodes` of up to `candidates` trials each and return all, in order.

    The controller proposes as if nothing had been done; a proposal whose trial is finished in the study is told the
    reward found there, one that was cut short is run again under its number. `genes` are names with their number of
    values.

    Raises:
        UserError: the study holds other candidates under these numbers, so the search is not the same.
    """
    recorded = study.get_trials(deepcopy=False)
    trials: list[Trial] = []
    finished = sum(trial.state == TrialState.COMPLETE for trial in recorded)
    with progress.task(label, episodes * candidates, done=finished) as bar:
        for _ in range(episodes):
            codes = controller.ask(candidates)
            episode: list[Trial] = []
            for code in codes.tolist():
                number = len(trials) + len(episode)
                known = recorded[number] if number < len(recorded) else None
                episode.append(_trial(study, number, tuple(code), known, genes, attempt))
                if known is None or known.state != TrialState.COMPLETE:
                    bar.advance()
            if not episode:
                break
            controller.tell(codes, [trial.reward for trial in episode])
            trials += episode
    return trials


def _trial(
    study: optuna.Study,
    number: int,
    code: Code,
    known: FrozenTrial | None,
    genes: Sequence[tuple[str, int]],
    attempt: Callable[[Code], Outcome],
) -> Trial:
    if known is not None and tuple(known.user_attrs["codes"]) != code:
        raise UserError(
            f"trial {number} of study {study.study_name!r} is not the candidate that this search proposes there: its "
            "profile or libraries have changed since; use another --output to begin again."
        )
    if known is not None and known.state == TrialState.COMPLETE:
        assert known.value is not None
        return Trial(number, code, known.value, _details(known.user_attrs))
    if known is None:
        study.add_trial(_begun(code, genes))
    outcome = attempt(code)
    running = study.get_trials(deepcopy=False)[number]
    handle = optuna.trial.Trial(study, running._trial_id)
    for name, value in outcome.details.items():
        handle.set_user_attr(name, value)
    study.tell(number, outcome.reward)
    return Trial(number, code, outcome.reward, dict(outcome.details))


def _begun(code: Code, genes: Sequence[tuple[str, int]]) -> FrozenTrial:
    return optuna.trial.create_trial(
        state=TrialState.RUNNING,
        params={name: value for (name, _), value in zip(genes, code, strict=True)},
        distributions={name: IntDistribution(0, max(values - 1, 0)) for name, values in genes},
        user_attrs={"codes": list(code)},
    )


def _details(attributes: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in attributes.items() if name != "codes"}
