"""Measuring within a time: first the plan, then rounds of what the predictor is least sure of, then the check."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, zip_longest
from time import perf_counter, time
from typing import Any

from devices.measurement import Cell
from devices.store import SampleStore
from devices.workload import Workload
from export.items import Item, item_from_json, item_key, item_to_json
from predictor.observation import Observation, circumstances
from profiler.active import candidates, enough_whole, form_committee, least_sure
from profiler.measuring_process import Crew
from profiler.observed import measured_so_far, observations
from profiler.plan import STUDENT_CELLS, Effort, Plan
from profiler.processes import measure_cells
from profiler.timetable import Timetable, busy_seconds
from profiler.workloads import WorkloadRange
from runs.folder import RunFolder
from runs.progress import Progress

LEAST_ROUND_SECONDS = 10.0
"""A shorter round would hardly add anything."""

FITS_LEFT = 1.5
"""After the last round a predictor is fitted to all and a committee three times to two thirds: half as much again as
the committee alone."""

AHEAD = 1.5
"""More cells than time is expected for are handed over, lest a fast machine wait."""


MORE_CELLS = 48
"""Measured at a time where the time is over and there are still too few."""


@dataclass(frozen=True)
class Work:
    """What all stages of one profile share; `error_percent` is the error on held-out folds at which rounds stop."""

    run: RunFolder
    store: SampleStore
    crew: Crew
    plan: Plan
    effort: Effort
    target: str
    workloads: WorkloadRange
    seed: int
    timetable: Timetable
    progress: Progress
    error_percent: float | None

    def measure(
        self,
        name: str,
        items: Mapping[str, Item],
        cells: Sequence[Cell],
        deadline: float | None,
        doubted: Sequence[Cell] = (),
    ) -> dict[str, Any]:
        """A stage: time the cells until a moment, or all of them; what was stored before is not timed again.

        Unless there is doubt about it, which goes for the `doubted` ones as well.
        """

        def timed() -> dict[str, Any]:
            asked = [*cells, *doubted]
            used = {cell.key for cell in asked} | {self.plan.reference}
            done = measure_cells(
                {key: item for key, item in items.items() if key in used},
                asked,
                self.target,
                self.plan.policy,
                processes=self.plan.processes,
                seed=self.seed,
                progress=self.progress,
                store=self.store,
                reference=self.plan.reference,
                deadline=deadline,
                crew=self.crew,
            )
            return {"cells": sum((cell.key, cell.workload) in done for cell in cells)}

        return self.run.stage(name, timed)

    def seconds_per_cell(self) -> float:
        """What a cell has taken so far, in all processes together."""
        samples = self.store.samples()
        cells = {(sample.key, sample.workload) for sample in samples}
        return busy_seconds(samples) / max(len(cells), 1)

    def seen(self, items: Mapping[str, Item]) -> list[Observation]:
        """What is known of these items so far."""
        return observations(items, measured_so_far(self.store, self.plan.reference, self.plan.visits))

    def measured(self, items: Mapping[str, Item]) -> list[Cell]:
        """All cells of these items that enough processes have measured."""
        done = measured_so_far(self.store, self.plan.reference, self.plan.visits)
        return [Cell(key, workload) for key, workload in done if key in items and key != self.plan.reference]

    def unmeasured(self) -> list[Cell]:
        """What is left of the plan, in its order."""
        done = measured_so_far(self.store, self.plan.reference, self.plan.visits)
        return [cell for cell in self.plan.cells if (cell.key, cell.workload) not in done]


def gather(work: Work) -> list[dict[str, Any]]:
    """Measure what the predictor is to learn from, then the check.

    Returns what each round found: the error on held-out folds and the seconds of fitting before it, and the number of
    cells it added.
    """
    items = dict(work.plan.fit)
    work.measure("first part", items, work.plan.cells, work.timetable.first_ends(work.effort.rounds))
    rounds: list[dict[str, Any]] = []
    for number in range(1, work.effort.rounds + 1):
        choice = _choice(work, items, number)
        rounds.append({name: choice[name] for name in ("error_percent", "fit_seconds")})
        if not choice["go_on"]:
            break
        items |= {key: item_from_json(item) for key, item in choice["items"].items()}
        chosen = [Cell(key, Workload(**workload)) for key, workload in choice["cells"]]
        cells = _taking_turns(chosen, work.unmeasured())[: choice["most_cells"]]
        until = _until(work, number, choice["fit_seconds"])
        rounds[-1] |= work.measure(f"round {number}", items, cells, until, work.measured(items))
    _make_enough(work, items)
    fit_seconds = rounds[-1]["fit_seconds"] if rounds else 0.0
    work.measure(
        "check",
        {work.plan.reference: work.plan.fit[work.plan.reference], **work.plan.check},
        work.plan.check_cells,
        work.timetable.check_ends(fit_seconds, time()),
    )
    return rounds


def _make_enough(work: Work, items: Mapping[str, Item]) -> None:
    """Go on with the plan where the time was too short for any predictor: a profile without one is worth nothing."""
    number = 0
    while left := work.unmeasured():
        if enough_whole(work.seen(items), {circumstances(cell.workload) for cell in work.plan.cells}):
            return
        number += 1
        work.progress.say("too few students were measured to predict others: going on beyond the time")
        work.measure(f"more {number}", items, left[:MORE_CELLS], None)


def _until(work: Work, number: int, fit_seconds: float) -> float:
    check_seconds = work.seconds_per_cell() * len(work.plan.check_cells)
    return work.timetable.round_ends(number, work.effort.rounds, check_seconds, fit_seconds, time())


def _choice(work: Work, items: Mapping[str, Item], number: int) -> dict[str, Any]:
    """A stage: whether to go on, which ends where the error aimed at is met or the time is over, and with what."""

    def choose() -> dict[str, Any]:
        start = perf_counter()
        seen = work.seen(items)
        committee = form_committee(seen, work.seed)
        spent = perf_counter() - start
        grown = work.timetable.limit_seconds / max(time() - work.timetable.began, 1.0)
        fit_seconds = FITS_LEFT * spent * max(grown, 1.0)
        left = _until(work, number, fit_seconds) - time()
        error = None if committee is None else committee.error_percent
        said = {"error_percent": error, "fit_seconds": fit_seconds}
        met = error is not None and work.error_percent is not None and error <= work.error_percent
        if met or left < LEAST_ROUND_SECONDS:
            return said | {"go_on": False}
        possible = left / work.seconds_per_cell()
        chosen = []
        if committee is not None:
            work.progress.say(f"round {number}: {error:.1f} % off on whole students that a fold left out")
            among = candidates(work.effort, work.workloads, (work.seed, 12, number), items)
            chosen = least_sure(committee, among, seen, round(possible / STUDENT_CELLS / 2))
        return said | {
            "go_on": True,
            "items": {item_key(one.item): item_to_json(one.item) for one in chosen},
            "cells": [(cell.key, cell.workload.to_json()) for one in chosen for cell in one.cells],
            "most_cells": round(AHEAD * possible),
        }

    return work.run.stage(f"choose {number}", choose)


def _taking_turns(chosen: Sequence[Cell], planned: Sequence[Cell]) -> list[Cell]:
    """Cells of a chosen model, then of a planned one, and so on: what is hard must not be all that is learned from."""
    models = ([list(cells) for _, cells in groupby(part, lambda cell: cell.key)] for part in (chosen, planned))
    turns = zip_longest(*models, fillvalue=list[Cell]())
    return list(dict.fromkeys(chain.from_iterable(chain.from_iterable(turns))))
