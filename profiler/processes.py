"""Timing cells in processes that live side by side and take turns, each sample stored as soon as it is known."""

from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from math import ceil
from pathlib import Path
from time import time

import devices.targets  # noqa: F401  (fills the registry)
import profiler.replay  # noqa: F401  (files the target that needs a profile)
from devices.measurement import Cell, Measurement, Sample, Turn
from devices.reference import reference_workload
from devices.stopwatch import Policy
from devices.store import IN_MEMORY, SampleStore
from devices.summary import summarise
from devices.target import DescriptionArtifact, Target, open_target
from devices.workload import Workload
from export.items import Item, item_to_json
from profiler.measuring_process import Crew
from profiler.timing import Known, Measuring, is_whole, missing_rounds, taken_in_turns
from runs.errors import UserError
from runs.progress import Progress

FINAL_POLICY = Policy(rounds=20, warmup_runs=5, settle_runs=3, sample_ms=0.0, extra_rounds=20)
"""For the few models whose latency is promised: every sample is a single run, so that p90 means what it says."""


def measure_items(
    items: Mapping[str, Item],
    target: str,
    workloads: Sequence[Workload],
    policy: Policy,
    *,
    processes: int = 3,
    seed: int = 0,
    progress: Progress | None = None,
    store: SampleStore | None = None,
    reference: str | None = None,
    crew: Crew | None = None,
) -> dict[tuple[str, Workload], Measurement]:
    """Every item under every workload; all else as in `measure_cells`."""
    cells = [Cell(key, workload) for key in items if key != reference for workload in workloads]
    return measure_cells(
        items,
        cells,
        target,
        policy,
        processes=processes,
        seed=seed,
        progress=progress,
        store=store,
        reference=reference,
        crew=crew,
    )


def measure_cells(
    items: Mapping[str, Item],
    cells: Sequence[Cell],
    target: str,
    policy: Policy,
    *,
    processes: int = 3,
    seed: int = 0,
    progress: Progress | None = None,
    store: SampleStore | None = None,
    reference: str | None = None,
    deadline: float | None = None,
    crew: Crew | None = None,
) -> dict[tuple[str, Workload], Measurement]:
    """Latencies of `cells` (whose keys are those of `items`) on `target`, over `processes` processes.

    Cells go batch by batch, in the order given, to one process after another, minutes apart where there are many
    (`profiler.turns`); only one measures at a time. `reference` names the item that runs in every round, for each
    number of threads and precision under its own workload (`devices.reference.reference_workload`), and tells how fast
    the machine was; the answer is as clocked either way. What `store` has already is not measured again, and every new
    sample is written to it. No batch begins that would not be through its processes by `deadline` (seconds
    since 1970). The answer has the cells that the policy's number of processes have measured, and the reference. `crew`
    are processes that stay ready for further calls, of the same target and seed; without it they are started for this
    call.

    Raises `UserError` for an unknown target, key or workload, an item that cannot be loaded, a process that the system
    ended, and a disk without room.
    """
    place = open_target(target)
    for workload in dict.fromkeys(cell.workload for cell in cells):
        place.check(workload)
    for key in [cell.key for cell in cells] + ([reference] if reference else []):
        if key not in items:
            raise UserError(f"there is no item {key!r} to measure: every cell needs its item, and so does a reference.")
    steady = reference if place.clocked else None
    # Its own rounds are measured anyway.
    own = {Cell(steady, reference_workload(cell.workload)) for cell in cells} if steady else set()
    asked = [cell for cell in dict.fromkeys(cells) if cell not in own]
    with ExitStack() as stack:
        kept = store or stack.enter_context(SampleStore(IN_MEMORY))
        kept.add_items({key: item_to_json(item) for key, item in items.items()})
        known = _known(kept, items)
        each = policy.visits_among(processes) * policy.rounds
        total, done = len(asked) * each, 0
        for cell in asked:
            missing = (len(missing_rounds(known, cell, process, policy)) for process in range(processes))
            done += min(sum(policy.rounds - number for number in missing), each)
        lacking = [cell for cell in asked if not is_whole(known, cell, processes, policy)] or asked
        models = len({cell.key for cell in lacking})
        on_many = f" ({len(lacking)} cells)" if len(lacking) > models else ""
        label = f"measuring {models} model{'s' if models > 1 else ''}{on_many} on {target}"
        said = progress or Progress(quiet=True)
        advance = stack.enter_context(_advancing(said, label, total, done, deadline))
        if not place.clocked:
            taken: Generator[Sample | Turn, None, None] = _looked_up(place, items, asked, policy, processes, known)
        else:
            hands = crew or stack.enter_context(Crew(target, seed, _beside(kept), said.say))
            measuring = Measuring(hands, items, policy, processes, steady, deadline, said.say)
            taken = taken_in_turns(measuring, asked, known)
        # A failure to store a sample must stop whoever measures the next one.
        for found in stack.enter_context(closing(taken)):
            if isinstance(found, Turn):
                kept.add_turn(found)
                continue
            kept.add(found)
            cell = Cell(found.key, found.workload)
            known[cell, found.process][found.round] = found.milliseconds
            # What is taken again takes time as well, but is no part of what was planned.
            if deadline is not None or (found.round < policy.rounds and cell not in own and done < total):
                done += 1
                advance()
        whole = {cell for cell in asked if is_whole(known, cell, processes, policy)}
        counted = whole | own
        samples = [
            sample
            for sample in kept.samples(items)
            if sample.process < processes and Cell(sample.key, sample.workload) in counted
        ]
        return summarise(samples)


@contextmanager
def _advancing(
    progress: Progress, label: str, total: int, done: int, deadline: float | None
) -> Iterator[Callable[[], None]]:
    """A task in samples; with a deadline in the seconds until then, since nobody knows how many samples they allow."""
    if deadline is None:
        with progress.task(label, total, done=done) as bar:
            yield bar.advance
        return
    begun, told = time(), 0
    with progress.task(f"{label}, by the seconds there are", max(1, ceil(deadline - begun))) as bar:

        def advance() -> None:
            nonlocal told
            passed = int(time() - begun) - told
            if passed > 0:
                bar.advance(passed)
                told += passed

        yield advance


def _known(store: SampleStore, items: Mapping[str, Item]) -> Known:
    known: Known = defaultdict(dict)
    for sample in store.samples(items):
        known[Cell(sample.key, sample.workload), sample.process][sample.round] = sample.milliseconds
    return known


def _beside(store: SampleStore) -> Path | None:
    """Where lowered graphs are kept meanwhile: beside a store that is a file."""
    return None if store.path == IN_MEMORY else Path(store.path).absolute().parent


def _looked_up(
    target: Target, items: Mapping[str, Item], cells: Sequence[Cell], policy: Policy, processes: int, known: Known
) -> Generator[Sample | Turn, None, None]:
    """Samples of a target that needs no stopwatch; each depends on nothing but its key, workload, process, round."""
    for process in range(processes):
        for cell in cells:
            missing = missing_rounds(known, cell, process, policy)
            if not missing:
                continue
            session = target.open(DescriptionArtifact(cell.key, item_to_json(items[cell.key])), cell.workload)
            served = [session.time_ms() for _ in range((process + 1) * policy.rounds)]
            for number in missing:
                yield Sample(cell.key, cell.workload, process, number, served[process * policy.rounds + number], time())
