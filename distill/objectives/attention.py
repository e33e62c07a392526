"""Losses of attention: of the scores before the softmax, and of the weights after it.

Where student and teacher have different numbers of heads, neighbouring heads are averaged down to the greatest number
that divides both. Several matched teacher layers are averaged.
"""

import math

import torch
from torch import Tensor

from distill.features import Features
from distill.objectives.contract import Match, layer_objective, masked_mean, over_seen, pair_mean

SCORES = "attention_scores"


def grouped(heads: Tensor, count: int) -> Tensor:
    """[B, heads, S, S] → [B, count, S, S], neighbours averaged."""
    found: Tensor = heads.unflatten(1, (count, -1)).mean(2)
    return found


def _alike(ours: Tensor, theirs: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The student's [B, H, S, S] and the teacher's layers' mean, with equally many heads."""
    count = math.gcd(ours.shape[1], *(layer.shape[1] for layer in theirs))
    return grouped(ours, count), torch.stack([grouped(layer, count) for layer in theirs]).mean(0)


def _scores(student: Features, teacher: Features, match: Match) -> tuple[Tensor, Tensor]:
    ours = student.attention_scores[match.student_layer].float()
    return _alike(ours, [teacher.attention_scores[layer].float() for layer in match.teacher_layers])


@layer_objective("attention", SCORES, per="pairs")
def attention_squared_error(student: Features, teacher: Features, match: Match) -> Tensor:
    """MSE of the scores Q·Kᵀ/√d of each head, over pairs of tokens (TinyBERT, Jiao et al. 2020)."""
    ours, theirs = _scores(student, teacher, match)
    return pair_mean((ours - theirs).square().mean(1), student)


@layer_objective("attention-sum", SCORES, per="pairs")
def attention_sum_squared_error(student: Features, teacher: Features, match: Match) -> Tensor:
    """MSE of the scores summed over heads, over the number of heads, which may differ (TextBrewer's, but for that)."""
    ours = student.attention_scores[match.student_layer].float().mean(1)
    theirs = torch.stack([teacher.attention_scores[layer].float().mean(1) for layer in match.teacher_layers]).mean(0)
    return pair_mean((ours - theirs).square(), student)


def _weights(scores: Tensor, student: Features) -> Tensor:
    """Softmax over the tokens that a token looks at, [B, heads, S, S]."""
    return over_seen(scores, student).softmax(-1)


def _log_weights(student: Features, teacher: Features, match: Match) -> tuple[Tensor, Tensor]:
    """Logarithms of student's and teacher's weights, with equally many heads; averages of weights are weights."""
    ours = _weights(student.attention_scores[match.student_layer], student)
    theirs = [_weights(teacher.attention_scores[layer], student) for layer in match.teacher_layers]
    least = torch.finfo(torch.float32).tiny
    log_ours, log_theirs = (weights.clamp(min=least).log() for weights in _alike(ours, theirs))
    return log_ours, log_theirs


@layer_objective("attention-kl", SCORES)
def attention_divergence(student: Features, teacher: Features, match: Match) -> Tensor:
    """KL(teacher ‖ student) of each token's weights, mean over heads and real tokens (MobileBERT, Sun et al. 2020)."""
    ours, theirs = _log_weights(student, teacher, match)
    return masked_mean((theirs.exp() * (theirs - ours)).sum(-1).mean(1), student.mask)


@layer_objective("attention-ce", SCORES)
def attention_cross_entropy(student: Features, teacher: Features, match: Match) -> Tensor:
    """-Σ w_teacher · log w_student of each token, mean over heads and real tokens (TextBrewer has it): MobileBERT's
    loss and the teacher's own entropy, with the same gradient."""
    ours, theirs = _log_weights(student, teacher, match)
    return masked_mean(-(theirs.exp() * ours).sum(-1).mean(1), student.mask)


@layer_objective("attention-mean-ce", SCORES)
def mean_attention_cross_entropy(student: Features, teacher: Features, match: Match) -> Tensor:
    """The cross entropy of weights averaged over all heads first, whatever their numbers (TextBrewer's)."""
    ours = _weights(student.attention_scores[match.student_layer], student).mean(1)
    layers = [_weights(teacher.attention_scores[layer], student).mean(1) for layer in match.teacher_layers]
    log_ours = ours.clamp(min=torch.finfo(torch.float32).tiny).log()
    return masked_mean(-(torch.stack(layers).mean(0) * log_ours).sum(-1), student.mask)
