"""Results of all targets from what was measured: one JSON object a target, and nothing measured again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devices.stability import stability
from devices.store import SampleStore
from devices.undisturbed import undisturbed
from prediction.adaptation import Move, move_figures
from prediction.bars import bar_lines
from prediction.contenders import our_guesses
from prediction.evaluation import (
    OURS,
    Predictions,
    by_precision,
    by_truth,
    disagreement,
    informed_figures,
    predict_all,
    rounded,
    row_lines,
)
from prediction.figures import Row, set_figures
from prediction.held_out import NAMED
from prediction.learnt import Learnt, as_observation, held_out_rows, profile_rows, reference_speeds
from prediction.measuring import read_held_out
from prediction.places import Place, file_name
from predictor.latency import LatencyPredictor
from predictor.observation import Observation
from profiler.folder import DEVICE_FILE, STORE_FILE
from runs.errors import UserError
from runs.files import write_json_atomic
from runs.progress import Progress

SCHEMA = 1


@dataclass(frozen=True)
class Measured:
    """One target as far as it was measured."""

    place: Place
    settings: Mapping[str, Any]
    planned: int
    """Rows of held-out students, measured or not yet."""
    learnt: Learnt
    rows: tuple[Row, ...]
    speeds: Mapping[str, float]
    """By threads and precision, how many times as long as in the profile the reference took beside the students."""
    minutes_after: float
    stability: str
    """How steady the machine was while the held-out students were timed."""


def read_measured(place: Place) -> Measured:
    """Read a target's stores; `UserError` where there is no profile or not one whole row of held-out students."""
    settings, students = read_held_out(place.held_out)
    reference = settings["reference"]
    learnt = profile_rows(place.profile, students)
    with SampleStore(place.held_out / STORE_FILE, read_only=True) as store:
        samples, turns = store.samples(), store.turns()
    rows = held_out_rows(students, samples, reference)
    if not rows:
        raise UserError(f"{place.held_out} has no student that all processes measured: run --stage held-out again.")
    then = reference_speeds(learnt.measured, reference)
    now = reference_speeds(undisturbed(samples), reference)
    return Measured(
        place=place,
        settings=settings,
        planned=sum(len(one.workloads) for one in students),
        learnt=learnt,
        rows=tuple(rows),
        speeds={
            f"t{threads}-{precision}": now[threads, precision] / then[threads, precision] for threads, precision in now
        },
        minutes_after=(min(sample.taken_at for sample in samples) - learnt.device["finished_at"]) / 60,
        stability=stability(samples, reference, turns).words,
    )


def moves(here: Measured, others: Sequence[Measured]) -> Iterator[Move]:
    """What adaptation is tried on: other precisions and threads of one target, and from the first target to another."""
    first, *rest = here.settings["workloads"]["precisions"]
    fewest, *more = here.settings["workloads"]["threads"]
    name = here.place.target
    usual = {"precision": first, "threads": fewest}
    for precision in rest:
        yield _move(f"{name}: {first} → {precision}", here, here, usual, {**usual, "precision": precision})
    for threads in more:
        yield _move(f"{name}: {fewest} → {threads} threads", here, here, usual, {**usual, "threads": threads})
    if others and others[0] is not here:
        yield _move(f"{others[0].place.target} → {name}", others[0], here, usual, usual)


def _move(name: str, base: Measured, here: Measured, known: Mapping[str, Any], goal: Mapping[str, Any]) -> Move:
    return Move(
        name,
        [one for one in base.learnt.rows if _is(one, known)],
        [one for one in here.learnt.rows if one.whole and _is(one, goal)],
        [row for row in here.rows if row.kind != NAMED and _is(row, goal)],
    )


def _is(one: Row | Observation, wanted: Mapping[str, Any]) -> bool:
    return all(getattr(one.workload, name) == value for name, value in wanted.items())


def own_figures(here: Measured, own: LatencyPredictor) -> dict[str, Any]:
    """By precision, errors of the profile's own predictor, which has learnt the named shapes that were measured."""
    guesses = our_guesses(own, [as_observation(row) for row in here.rows])
    views = by_truth(Predictions(here.rows, {OURS: guesses}), here.learnt.disturbances)
    found: dict[str, Any] = {}
    for precision in dict.fromkeys(row.workload.precision for row in here.rows):
        chosen = [place for place, row in enumerate(here.rows) if row.workload.precision == precision]
        parts = {truth: view.of(chosen) for truth, view in views.items()}
        found[precision] = {truth: set_figures(part.rows, part.guesses[OURS], truth) for truth, part in parts.items()}
    return found


def again_figures(here: Measured, own: LatencyPredictor) -> dict[str, Any]:
    """The second profile's predictor beside the first one's; empty where there is no second."""
    if not (here.place.again / DEVICE_FILE).is_file():
        return {}
    second = profile_rows(here.place.again, ())
    minutes = (second.device["finished_at"] - second.device["seconds"] - here.learnt.device["finished_at"]) / 60
    other = LatencyPredictor.fit(second.own, seed=second.device["seed"])
    return {"minutes_after": minutes, **disagreement(own, other, here.rows)}


def result_of(here: Measured, others: Sequence[Measured], progress: Progress) -> dict[str, Any]:
    """Everything about one target."""
    target, device = here.place.target, here.learnt.device
    seed = device["seed"]
    own = LatencyPredictor.fit(here.learnt.own, seed=seed)
    progress.say(f"{target}: fitting every contender to {len(here.learnt.rows)} rows")
    found = predict_all(here.learnt, here.rows, seed)
    by_row = dict(zip(here.rows, found.guesses[OURS], strict=True))
    adaptation = {}
    for move in moves(here, others):
        progress.say(f"{target}: adapting, {move.name}")
        full = set_figures(move.asked, [by_row[row] for row in move.asked], "undisturbed")
        adaptation[move.name] = move_figures(move, full["mape_percent"], seed)
    progress.say(f"{target}: asking what would be left had it learnt these students too")
    informed = informed_figures(here.learnt, here.rows, seed)
    result = {
        "target": target,
        "profile": {
            "effort": device["effort"],
            "seed": seed,
            "seconds": device["seconds"],
            "samples": device["samples"],
            "rows_learnt_from": len(here.learnt.rows),
            "rows_left_out": len(here.learnt.own) - len(here.learnt.rows),
            "stability": here.learnt.stability,
            "error_budget": device["error_budget"]["words"],
        },
        "held_out": {
            "seed": here.settings["seed"],
            "students": len({row.key for row in here.rows if row.kind != NAMED}),
            "rows": len(here.rows),
            "rows_planned": here.planned,
            "minutes_after_profile": here.minutes_after,
            "reference_now_over_then": dict(here.speeds),
            "stability": here.stability,
        },
        "precisions": by_precision(by_truth(found, here.learnt.disturbances)),
        "informed": informed,
        "own": own_figures(here, own),
        "adaptation": adaptation,
        "again": again_figures(here, own),
    }
    whole = {
        "schema": SCHEMA,
        "finished_at": round(device["finished_at"]),
        "fingerprint": device["fingerprint"],
        **rounded(result),
    }
    return {**whole, "bars": list(bar_lines(whole)), "rows": rounded(row_lines(found))}


def evaluate_targets(places: Sequence[Place], results: Path, progress: Progress) -> dict[str, dict[str, Any]]:
    """Write one JSON file a target into `results`, and return what is in them."""
    measured = [read_measured(place) for place in places]
    written = {}
    for here in measured:
        written[here.place.target] = result_of(here, measured, progress)
        write_json_atomic(results / f"{file_name(here.place.target)}.json", written[here.place.target])
    return written
