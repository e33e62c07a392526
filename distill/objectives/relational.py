"""Relational distillation: how the texts of a batch lie to one another, each seen by one token (Park et al. 2019).

Any width meets any other. A batch of one text says nothing of distances, one of two nothing of angles: the loss is 0.
Of several matched teacher layers the last is used.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.features import Features
from distill.objectives.contract import Match, layer_objective, of_texts

SMALL = 1e-6


def _texts(student: Features, teacher: Features, match: Match) -> tuple[Tensor, Tensor]:
    """Each text's token (`of_texts`), [B, width] of student and teacher."""
    ours = of_texts(student.hidden_states[match.student_layer + 1], student)
    return ours, of_texts(teacher.hidden_states[match.teacher_layers[-1] + 1], student)


def _distances(texts: Tensor) -> Tensor:
    """Euclidean, between the texts [B, w] → [B, B], in units of their mean over different texts."""
    squares = (texts[:, None] - texts[None]).square().sum(-1)
    # The root has no gradient at 0, where a text meets itself or its double.
    distances = torch.where(squares > 0, squares.clamp(min=SMALL**2), 1.0).sqrt() * (squares > 0)
    return distances / distances.sum().clamp(min=SMALL) * (len(texts) * (len(texts) - 1))


@layer_objective("rkd-distance", "hidden_states", per="texts")
def distances_apart(student: Features, teacher: Features, match: Match) -> Tensor:
    """Huber loss between the distances of all pairs of texts, each in units of its side's mean distance."""
    ours, theirs = (_distances(texts) for texts in _texts(student, teacher, match))
    return F.smooth_l1_loss(ours, theirs)


def _angles(texts: Tensor) -> Tensor:
    """Cosines of the angles at text j between texts i and k, [B, B, B] as (j, i, k); 0 where two of them are one."""
    directions = F.normalize(texts[None] - texts[:, None], dim=-1, eps=SMALL)
    return directions @ directions.transpose(1, 2)


@layer_objective("rkd-angle", "hidden_states", per="texts")
def angles_between(student: Features, teacher: Features, match: Match) -> Tensor:
    """Huber loss between the cosines of the angles in all triples of texts."""
    ours, theirs = _texts(student, teacher, match)
    if len(ours) < 3:
        return ours.sum() * 0.0
    return F.smooth_l1_loss(_angles(ours), _angles(theirs))
