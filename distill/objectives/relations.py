"""Losses of relations between tokens: how queries, keys and values of one text look at one another (MiniLM, MiniLMv2).

Any width can be compared with any other, since only products within student and within teacher meet. Heads are
regrouped: the widths are cut into as many parts as both allow. Of several matched teacher layers the last is used.
"""

import math

import torch
from torch import Tensor

from distill.features import Features, split_heads
from distill.objectives.contract import Match, layer_objective, masked_mean, over_seen

MOST_RELATION_HEADS = 12

MINILM = (("queries", "keys"), ("values", "values"))
"""Attention and value relations (Wang et al. 2020)."""

MINILM_V2 = (("queries", "queries"), ("keys", "keys"), ("values", "values"))
"""Self-attention relations (Wang et al. 2021)."""


def relation_heads(student_width: int, teacher_width: int) -> int:
    """The most heads, up to 12, into which both widths regroup."""
    shared = math.gcd(student_width, teacher_width)
    return next(heads for heads in range(MOST_RELATION_HEADS, 0, -1) if shared % heads == 0)


def _relation(rows: Tensor, columns: Tensor, heads: int, student: Features) -> Tensor:
    """log softmax(A·Bᵀ/√d) over the tokens that a token looks at, [B, heads, S, S]; A and B are [B, S, q]."""
    first, second = split_heads(rows.float(), heads), split_heads(columns.float(), heads)
    scores = first @ second.transpose(-1, -2) / math.sqrt(first.shape[-1])
    return over_seen(scores, student).log_softmax(-1)


def _divergence(student: Features, teacher: Features, match: Match, pairs: tuple[tuple[str, str], ...]) -> Tensor:
    """KL(teacher ‖ student) of the relations, mean over heads and real tokens, summed over the pairs."""
    total = torch.zeros((), device=student.logits.device)
    for first, second in pairs:
        ours = [getattr(student, name)[match.student_layer] for name in (first, second)]
        theirs = [getattr(teacher, name)[match.teacher_layers[-1]] for name in (first, second)]
        heads = relation_heads(ours[0].shape[-1], theirs[0].shape[-1])
        log_ours = _relation(ours[0], ours[1], heads, student)
        log_theirs = _relation(theirs[0], theirs[1], heads, student)
        divergence = (log_theirs.exp() * (log_theirs - log_ours)).sum(-1).mean(1)
        total = total + masked_mean(divergence, student.mask)
    return total


@layer_objective("minilm", "queries", "keys", "values")
def attention_and_values(student: Features, teacher: Features, match: Match) -> Tensor:
    """KL of query-key and of value-value relations, summed (MiniLM); meant for the matching `last-layer`.

    MiniLM's students have as many heads as their teachers; here the widths are regrouped where they have not.
    """
    return _divergence(student, teacher, match, MINILM)


@layer_objective("relations", "queries", "keys", "values")
def self_relations(student: Features, teacher: Features, match: Match) -> Tensor:
    """KL of query-query, key-key and value-value relations, summed (MiniLMv2)."""
    return _divergence(student, teacher, match, MINILM_V2)


@layer_objective("relations-qq", "queries")
def query_relations(student: Features, teacher: Features, match: Match) -> Tensor:
    """KL of query-query relations alone."""
    return _divergence(student, teacher, match, MINILM_V2[:1])


@layer_objective("relations-kk", "keys")
def key_relations(student: Features, teacher: Features, match: Match) -> Tensor:
    """KL of key-key relations alone."""
    return _divergence(student, teacher, match, MINILM_V2[1:2])


@layer_objective("relations-vv", "values")
def value_relations(student: Features, teacher: Features, match: Match) -> Tensor:
    """KL of value-value relations alone."""
    return _divergence(student, teacher, match, MINILM_V2[2:])
