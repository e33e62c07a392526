"""How long a search has still to go: a forecast from predicted latencies, corrected by what its stages really took."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from devices.workload import Workload
from distill.mini import JUDGED
from nas.schedule import Effort
from runs.progress import duration_text

FORWARDS = 2.0
STEP_OVERHEAD = 0.08
"""A training step takes about two fp32 forward passes (three in bf16), and 80 ms for embedding gradients,
clipping and optimizer whatever the student: between 22.7 M and 9.8 M weights they hardly differed."""

READ_AT_ONCE = 12.0
"""So many times longer a token takes that is written alone, which waits for all weights, than one of a text that is
learnt from."""

CANDIDATE_OVERHEAD = 1.5
PART_OVERHEAD = 0.1
FORETOLD_SECONDS = 0.05
CLASSROOM_SECONDS = 30.0
FINALISTS_SECONDS = 60.0
EXPORT_SECONDS = 40.0
"""Seconds beside the optimizer steps: validation and slicing per candidate, a part of a supernet that is found and
scored, a candidate that is foretold alone, the teacher's answers and importance once, processes that time,
verification."""


@dataclass(frozen=True)
class Forecast:
    """Planned seconds by stage, in order; stages share names across budgets."""

    planned: dict[str, float]

    def left(self, done: Mapping[str, float]) -> str:
        """What remains after the stages in `done` (name → seconds it took), as a sentence's end.

        A machine that was slower or faster than planned so far is taken to stay so, within a factor of four. A stage
        that took next to nothing was found done, and says nothing about the machine.
        """
        worked = [name for name, seconds in done.items() if seconds > 0.1 * self.planned[name] > 0]
        expected = sum(self.planned[name] for name in worked)
        pace = min(4.0, max(0.25, sum(done[name] for name in worked) / expected)) if worked else 1.0
        rest = {name: seconds * pace for name, seconds in self.planned.items() if name not in done}
        parts = ", ".join(f"{name} {duration_text(seconds)}" for name, seconds in rest.items())
        return f"about {duration_text(sum(rest.values()))} left ({parts})"


def reading_seconds(latency_ms: float, workload: Workload, tokens: float, texts: int) -> float:
    """Seconds of reading texts of so many tokens on average, from the ms of one inference of `workload`."""
    per_token = latency_ms / 1000 / (workload.batch_size * workload.sequence_length)
    per_token /= READ_AT_ONCE if workload.earlier_tokens else 1.0
    return per_token * tokens * texts / max(1.0, torch.get_num_threads() / workload.threads)


def step_seconds(latency_ms: float, workload: Workload, tokens: float, batch_size: int) -> float:
    """Seconds of one optimizer step on `batch_size` such texts."""
    return FORWARDS * reading_seconds(latency_ms, workload, tokens, batch_size) + STEP_OVERHEAD


def forecast(
    effort: Effort,
    workload: Workload,
    budgets_ms: Mapping[str, float],
    teacher_ms: float,
    teacher_steps: int,
    final_steps: int,
    train_size: int,
    tokens: float,
    batch_size: int,
    copies: bool = False,
    beside: bool = False,
    remembered: bool = False,
    prepared: tuple[str, float] | None = None,
    candidates: int | None = None,
    learnt: bool | None = None,
    taught: bool = True,
    foretold: bool = False,
    parts_read: int = 0,
    shares: Mapping[str, float] | None = None,
) -> Forecast:
    """Plan every stage of a search over `budgets_ms` (label → ms), the teacher's fine-tuning first.

    `teacher_steps`, counted in plain ones, and `final_steps` are what fine-tuning and the recipe ask for themselves; of
    `copies` the teacher is asked anew while a student is distilled; one that answers `beside` students does so at every
    step, at those of all candidates once, and where its answers are `remembered` once for each text. A method that
    prepares something does so in the stage `prepared`, for as long as so many of the teacher's steps; `candidates` is
    what it tries in an episode, if it says so, and `taught` whether each is for itself, or judged, or `foretold`; where
    they are parts of a supernet, `parts_read` is how many texts each reads to be judged.
    One that learns, which has `learnt` something beforehand or not, has fewer episodes where it learnt something.
    `shares` are the budgets' of the teacher's time, where they are not those of the milliseconds that are trained.
    """
    asking = step_seconds(teacher_ms, workload, tokens, batch_size) / FORWARDS if copies or beside else 0.0
    planned_step = step_seconds(teacher_ms, workload, tokens, batch_size)
    planned = {"teacher": teacher_steps * planned_step}
    if prepared:
        stage, teacher_steps_long = prepared
        planned[stage] = teacher_steps_long * planned_step
    for number, (label, budget_ms) in enumerate(budgets_ms.items()):
        step = step_seconds(min(budget_ms, teacher_ms), workload, tokens, batch_size)
        steps = effort.mini_steps(train_size, batch_size) * (1.0 + JUDGED / 3) if taught else 0.0
        mini = FORETOLD_SECONDS if foretold else steps * step + CANDIDATE_OVERHEAD
        if parts_read:
            mini = reading_seconds(min(budget_ms, teacher_ms), workload, tokens, parts_read) + PART_OVERHEAD
        has_learnt = learnt is not None and not foretold and (learnt or number)
        episodes = effort.further_episodes if has_learnt else effort.episodes
        trials = episodes * (candidates or effort.candidates)
        first = CLASSROOM_SECONDS + (asking * steps if beside else 0.0)
        planned[f"{label} search"] = trials * mini + (first if number == 0 else 0.0)
        planned[f"{label} finalists"] = FINALISTS_SECONDS
        share = shares[label] if shares else min(1.0, budget_ms / teacher_ms)
        full_steps = effort.full_steps(final_steps, share, beside)
        asked = min(full_steps, train_size / batch_size) if remembered else full_steps
        planned[f"{label} distillation"] = effort.distilled * (full_steps * step + asked * asking)
        planned[f"{label} export"] = EXPORT_SECONDS
    return Forecast(planned)
