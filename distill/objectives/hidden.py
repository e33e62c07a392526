"""Losses of hidden states: the states themselves, their directions, a token of each text, what they are together.

A teacher layer's state is [B, S, teacher's width]; of several matched teacher layers the states stand side by side.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.features import Features
from distill.objectives.contract import Match, layer_objective, masked_mean, of_texts, pair_mean

SMALL = 1e-6
VARIANCE = 1e-5
"""Added to a channel's variance, as in norm layers: in bf16 a channel may well be constant over a short text's tokens,
and a root has no gradient at 0."""

HIDDEN = "hidden_states"


def _projected(match: Match, values: Tensor) -> Tensor:
    assert match.project is not None
    return match.project(values).float()


def _states(student: Features, teacher: Features, match: Match) -> tuple[Tensor, Tensor]:
    """The student's state, projected, and the teacher's, both [B, S, teacher's widths]; place 0 is the embedding."""
    ours = _projected(match, student.hidden_states[match.student_layer + 1])
    theirs = torch.cat([teacher.hidden_states[layer + 1] for layer in match.teacher_layers], dim=-1)
    return ours, theirs.float()


@layer_objective("hidden", HIDDEN, projects=HIDDEN, of_embedding=True)
def hidden_squared_error(student: Features, teacher: Features, match: Match) -> Tensor:
    """Mean over tokens and channels of (W·h_student - h_teacher)² (TinyBERT, Jiao et al. 2020, and KD-NAS)."""
    ours, theirs = _states(student, teacher, match)
    return masked_mean((ours - theirs).square().mean(-1), student.mask)


@layer_objective("attention-output", "attention_outputs", projects="attention_outputs")
def attention_squared_error(student: Features, teacher: Features, match: Match) -> Tensor:
    """The same of what a layer's attention gives, after its residual and norm."""
    ours = _projected(match, student.attention_outputs[match.student_layer])
    theirs = torch.cat([teacher.attention_outputs[layer] for layer in match.teacher_layers], dim=-1).float()
    return masked_mean((ours - theirs).square().mean(-1), student.mask)


@layer_objective("hidden-cosine", HIDDEN, projects=HIDDEN, of_embedding=True)
def hidden_cosine(student: Features, teacher: Features, match: Match) -> Tensor:
    """Mean over tokens of 1 - cos(W·h_student, h_teacher) (DistilBERT, Sanh et al. 2019)."""
    ours, theirs = _states(student, teacher, match)
    return masked_mean(1 - F.cosine_similarity(ours, theirs, dim=-1, eps=SMALL), student.mask)


@layer_objective("pkd", HIDDEN, projects=HIDDEN, per="texts")
def patient(student: Features, teacher: Features, match: Match) -> Tensor:
    """‖W·c_student / ‖W·c_student‖ - c_teacher / ‖c_teacher‖‖² of the first token's states c (PKD, Sun et al. 2019)."""
    ours, theirs = (F.normalize(of_texts(states, student), dim=-1) for states in _states(student, teacher, match))
    return (ours - theirs).square().sum(-1).mean()


def _token_gram(states: Tensor) -> Tensor:
    """H·Hᵀ / width [B, S, S]: how alike the tokens of a text are."""
    states = states.float()
    return states @ states.transpose(1, 2) / states.shape[-1]


@layer_objective("mmd", HIDDEN, of_embedding=True, per="pairs")
def token_likeness(student: Features, teacher: Features, match: Match) -> Tensor:
    """MSE between H·Hᵀ / width of student and teacher, over pairs of real tokens; widths may differ.

    Maximum mean discrepancy with a polynomial kernel, in the form that TextBrewer gives neuron selectivity transfer
    (arXiv 1707.01219). Several matched teacher layers are averaged.
    """
    ours = _token_gram(student.hidden_states[match.student_layer + 1])
    theirs = torch.stack([_token_gram(teacher.hidden_states[layer + 1]) for layer in match.teacher_layers]).mean(0)
    return pair_mean((ours - theirs).square(), student)


def _flow(before: Tensor, after: Tensor, mask: Tensor) -> Tensor:
    """Beforeᵀ·after / tokens [B, w, w] over the real tokens of each text."""
    real = mask[..., None]
    before, after = torch.where(real, before, 0.0), torch.where(real, after, 0.0)
    return before.transpose(1, 2) @ after / real.sum(1, keepdim=True).clamp(min=1)


@layer_objective("fsp", HIDDEN, projects=HIDDEN, per="texts")
def solving_flow(student: Features, teacher: Features, match: Match) -> Tensor:
    """MSE between Gram matrices of what goes into a layer and what comes out of it (FSP, Yim et al. 2017).

    Channels against channels, so the student's states are projected; several matched teacher layers stand in a row.
    """
    ours = [_projected(match, student.hidden_states[match.student_layer + step]) for step in (0, 1)]
    theirs = [
        torch.cat([teacher.hidden_states[layer + step] for layer in match.teacher_layers], dim=-1).float()
        for step in (0, 1)
    ]
    return (_flow(ours[0], ours[1], student.mask) - _flow(theirs[0], theirs[1], student.mask)).square().mean()


def _across_tokens(values: Tensor, mask: Tensor) -> Tensor:
    """Each channel of each text brought to mean 0 and variance 1 over its real tokens; 0 at padding."""
    real = mask[..., None]
    count = real.sum(1, keepdim=True).clamp(min=1)
    centred = torch.where(real, values - torch.where(real, values, 0.0).sum(1, keepdim=True) / count, 0.0)
    return centred * (centred.square().sum(1, keepdim=True) / count + VARIANCE).rsqrt()


def _relational(ours: Tensor, theirs: Tensor, mask: Tensor) -> Tensor:
    difference = _across_tokens(ours, mask) - _across_tokens(theirs, mask)
    return masked_mean(difference.square().mean(-1), mask)


@layer_objective("elm-output", HIDDEN, projects=HIDDEN, of_embedding=True)
def relational_output(student: Features, teacher: Features, match: Match) -> Tensor:
    """MSE of a layer's output after each channel of each text is normalised over its tokens: 2·(1 - Pearson's ρ).

    ELM's features of feed-forwards and embeddings, read in the same author's W-PCA code; of several matched teacher
    layers the states stand side by side.
    """
    return _relational(*_states(student, teacher, match), student.mask)


@layer_objective("elm-attention", "attention_outputs", projects="attention_outputs")
def relational_attention(student: Features, teacher: Features, match: Match) -> Tensor:
    """The same of what a layer's attention gives, after its residual and norm."""
    ours = _projected(match, student.attention_outputs[match.student_layer])
    theirs = torch.cat([teacher.attention_outputs[layer] for layer in match.teacher_layers], dim=-1).float()
    return _relational(ours, theirs, student.mask)
