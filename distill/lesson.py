"""A lesson: student, teacher and a recipe's terms as one module whose forward pass is the loss of a batch."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from distill.batches import Batch
from distill.features import Features, extract, no_gradient_features
from distill.matching import MATCHINGS, Pairs
from distill.numerics import mixed_precision
from distill.objectives import OBJECTIVES, AnswerObjective, LayerObjective, Match
from distill.recipe import Term


def needs_teacher_inside(terms: Sequence[Term]) -> bool:
    """Whether any term looks inside the teacher, so that its logits alone are not enough."""
    return any(isinstance(OBJECTIVES[term.objective], LayerObjective) for term in terms)


class Lesson(nn.Module):
    """Holds what is trained: the student, and the projections that layer terms need and that are thrown away after.

    The teacher is kept out of the state on purpose. `forward(**batch)` returns {"loss": scalar}.
    """

    def __init__(self, student: Any, terms: Sequence[Term], teacher: Any | None = None, seed: int = 0) -> None:
        super().__init__()
        self.student = student
        self.terms = tuple(terms)
        self._teacher = [] if teacher is None else [teacher.eval()]
        self.pairs: dict[int, Pairs] = {}
        projections: dict[str, nn.Linear] = {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for number, term in enumerate(self.terms):
                objective = OBJECTIVES[term.objective]
                if isinstance(objective, LayerObjective) and teacher is not None:
                    ours, theirs = student.config.spec_object, teacher.config.spec_object
                    self.pairs[number] = MATCHINGS[term.matching](len(ours.layers), len(theirs.layers))
                    if objective.projects:
                        # One projection serves all layers of a term, as in KD-NAS (docs/methods.md).
                        most = len(self.pairs[number][0][1])
                        projections[str(number)] = nn.Linear(ours.hidden_width, most * theirs.hidden_width)
        self.projections = nn.ModuleDict(projections)

    def _active(self, share_done: float) -> list[tuple[int, Term]]:
        return [(n, term) for n, term in enumerate(self.terms) if term.start <= share_done < term.end]

    def _layers(self, number: int, objective: LayerObjective, student: Features, teacher: Features) -> Tensor:
        losses = []
        for student_layer, teacher_layers in self.pairs[number]:
            projected = None
            if objective.projects:
                projected = self.projections[str(number)](student.hidden_states[student_layer + 1])
            losses.append(objective.loss(student, teacher, Match(student_layer, teacher_layers, projected)))
        return torch.stack(losses).mean()

    def forward(self, **batch: Tensor) -> dict[str, Tensor]:
        """The weighted sum of the terms that act at this share of the run."""
        inputs: Batch = batch
        active = self._active(float(inputs["share_done"]))
        objectives = {number: OBJECTIVES[term.objective] for number, term in active}
        wants = frozenset[str]().union(*(o.wants for o in objectives.values() if isinstance(o, LayerObjective)))
        with mixed_precision(inputs["input_ids"].device):
            student = extract(self.student, inputs, wants)
            teacher = no_gradient_features(self._teacher[0], inputs, wants) if wants else None
            total = torch.zeros((), device=student.logits.device)
            for number, term in active:
                objective = objectives[number]
                if isinstance(objective, AnswerObjective):
                    given = inputs.get("teacher_logits")
                    loss = objective.loss(student, given, inputs["labels"], term.temperature)
                else:
                    assert teacher is not None
                    loss = self._layers(number, objective, student, teacher)
                total = total + term.weight * loss
        return {"loss": total}

    def to_device(self, device: torch.device) -> "Lesson":
        """Move everything, the teacher too."""
        for teacher in self._teacher:
            teacher.to(device)
        return self.to(device)
