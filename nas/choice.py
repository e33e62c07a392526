"""Which precision a student is shipped in where a search tried several: that whose file answers validation best."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill.batches import Encoded, evaluation_batches
from distill.classroom import classroom
from distill.kinds import TaskKind
from export.verify import open_graph, run_graph
from nas.budget import Budget
from nas.context import Context
from nas.delivery import Delivered, excess, target_file


def choose(context: Context, found: Sequence[tuple[Budget, Delivered]]) -> dict[str, Any]:
    """Which of some budgets of as many milliseconds has the best student, and how all of them did, JSON-able.

    One that keeps its milliseconds and its memory goes before one that does not; of equal scores the faster is taken.
    """
    rows: list[dict[str, Any]] = []
    for budget, delivered in found:
        file = context.result_folder(budget.label) / target_file(context.ground.target, budget.workload)
        context.progress.say(f"{budget.label}: reading {file.name}'s answers on validation")
        rows.append(
            {
                "label": budget.label,
                "precision": budget.workload.precision,
                "validation": file_score(context, file),
                "measured_ms": delivered.student.p50_ms,
                "kept": not excess(context, budget, delivered),
            }
        )
    best = max(rows, key=lambda row: (row["kept"], row["validation"], -row["measured_ms"]))
    if len(rows) > 1:
        context.progress.say(f"{best['label']}: {best['precision']} answers best on validation")
    return {"chosen": best["label"], "tried": rows}


def file_score(context: Context, file: Path) -> float:
    """The score on validation of what an exported file answers."""
    room = classroom(context.teacher, context.ground.task)
    return room.scores(_answers(file, room.validation, room.kind))[context.ground.task.metric]


def _answers(file: Path, encoded: Encoded, kind: TaskKind) -> Any:
    """As `distill.evaluation.answer` gives a model's: [n, labels], or where tokens have some [tokens, labels]."""
    session, rows = open_graph(file), {}
    for indices in evaluation_batches(encoded.lengths):
        batch = {name: values.numpy() for name, values in encoded.batch(indices).items() if name != "labels"}
        (answers,) = run_graph(session, [batch])
        masks = batch["attention_mask"].astype(bool)
        for place, answer, mask in zip(indices.tolist(), answers, masks, strict=True):
            rows[place] = answer[mask] if kind.per_token else answer
    ordered = [rows[place] for place in range(len(encoded))]
    return np.concatenate(ordered) if kind.per_token else np.stack(ordered)
