"""Losses between a student's and a teacher's features, one small function each; padding never counts.

A loss of layers is called once for every matched pair and averaged over the pairs.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.features import Features, split_heads
from runs.registry import Registry

MOST_RELATION_HEADS = 12


@dataclass(frozen=True)
class Match:
    """One student layer, its teacher layers (from 0), and the student's hidden states projected to their widths.

    `projected` is [B, S, widths of the teacher layers together], or None for objectives that need no projection.
    """

    student_layer: int
    teacher_layers: tuple[int, ...]
    projected: Tensor | None = None


AnswerLoss = Callable[[Features, Tensor | None, Tensor, float], Tensor]
LayerLoss = Callable[[Features, Features, Match], Tensor]


@dataclass(frozen=True)
class AnswerObjective:
    """A loss of answers: (student, teacher logits or None, labels [B], temperature) → scalar."""

    loss: AnswerLoss
    needs_teacher: bool = True


@dataclass(frozen=True)
class LayerObjective:
    """A loss of one matched pair of layers, the features it wants, and whether hidden states are to be projected."""

    loss: LayerLoss
    wants: frozenset[str]
    projects: bool = False


Objective = AnswerObjective | LayerObjective

OBJECTIVES: Registry[Objective] = Registry("objective")


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the real tokens of [B, S] values; mask [B, S] bool."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def hard_labels(student: Features, teacher_logits: Tensor | None, labels: Tensor, temperature: float) -> Tensor:
    """Cross entropy with the data's labels; no teacher."""
    return F.cross_entropy(student.logits.float(), labels)


def soft_logits(student: Features, teacher_logits: Tensor | None, labels: Tensor, temperature: float) -> Tensor:
    """KL(teacher ‖ student) of answers softened by the temperature T, times T² to keep the gradient's size."""
    assert teacher_logits is not None
    ours = F.log_softmax(student.logits.float() / temperature, dim=-1)
    theirs = F.log_softmax(teacher_logits.float() / temperature, dim=-1)
    return F.kl_div(ours, theirs, reduction="batchmean", log_target=True) * temperature**2


def logits_squared_error(
    student: Features, teacher_logits: Tensor | None, labels: Tensor, temperature: float
) -> Tensor:
    """MSE of the logits themselves; the temperature does not matter."""
    assert teacher_logits is not None
    return F.mse_loss(student.logits.float(), teacher_logits.float())


def hidden_squared_error(student: Features, teacher: Features, match: Match) -> Tensor:
    """MSE between the projected hidden state and the matched teacher layers' states side by side."""
    assert match.projected is not None
    wanted = torch.cat([teacher.hidden_states[layer + 1] for layer in match.teacher_layers], dim=-1).float()
    return masked_mean((match.projected.float() - wanted).square().mean(-1), student.mask)


def attention_squared_error(student: Features, teacher: Features, match: Match) -> Tensor:
    """MSE of the attention scores before the softmax, means over heads, so that head counts may differ.

    Only pairs of real tokens count; several matched teacher layers are averaged.
    """
    wanted = torch.stack([teacher.attention_scores[layer].mean(1) for layer in match.teacher_layers]).mean(0)
    error = (student.attention_scores[match.student_layer].mean(1).float() - wanted.float()).square()
    both = student.mask[:, :, None] & student.mask[:, None, :]
    return (error * both).sum() / both.sum().clamp(min=1)


def relation_heads(student_width: int, teacher_width: int) -> int:
    """The most heads, up to 12, into which both widths regroup."""
    shared = math.gcd(student_width, teacher_width)
    return next(heads for heads in range(MOST_RELATION_HEADS, 0, -1) if shared % heads == 0)


def _relation(projected: Tensor, heads: int, mask: Tensor) -> Tensor:
    """log softmax(X Xᵀ / √d) over the real tokens, [B, heads, S, S]."""
    parts = split_heads(projected.float(), heads)
    scores = parts @ parts.transpose(-1, -2) / math.sqrt(parts.shape[-1])
    return scores.masked_fill(~mask[:, None, None, :], -1e9).log_softmax(-1)


def relation_divergence(student: Features, teacher: Features, match: Match) -> Tensor:
    """KL between token relations of queries, keys and values, summed over the three (MiniLMv2).

    Heads are regrouped where their numbers differ; of several matched teacher layers the last is used.
    """
    total = torch.zeros((), device=student.logits.device)
    for name in ("queries", "keys", "values"):
        ours = getattr(student, name)[match.student_layer]
        theirs = getattr(teacher, name)[match.teacher_layers[-1]]
        heads = relation_heads(ours.shape[-1], theirs.shape[-1])
        log_ours = _relation(ours, heads, student.mask)
        log_theirs = _relation(theirs, heads, student.mask)
        divergence = (log_theirs.exp() * (log_theirs - log_ours)).sum(-1).mean(1)
        total = total + masked_mean(divergence, student.mask)
    return total


OBJECTIVES.register("labels")(AnswerObjective(hard_labels, needs_teacher=False))
OBJECTIVES.register("logits")(AnswerObjective(soft_logits))
OBJECTIVES.register("logits-mse")(AnswerObjective(logits_squared_error))
OBJECTIVES.register("hidden")(LayerObjective(hidden_squared_error, frozenset({"hidden_states"}), projects=True))
OBJECTIVES.register("attention")(LayerObjective(attention_squared_error, frozenset({"attention_scores"})))
OBJECTIVES.register("relations")(LayerObjective(relation_divergence, frozenset({"queries", "keys", "values"})))
