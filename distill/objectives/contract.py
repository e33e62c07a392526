"""What an objective is: a loss of answers, or a loss of one matched pair of layers; and where all of them are filed.

Every loss is a scalar that padding never enters. A loss of layers is called once for every matched pair and averaged
over the pairs.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from distill.counts import Unit
from distill.features import Features
from runs.registry import Registry


@dataclass(frozen=True)
class Answers:
    """What student and teacher answer, one row an answer: a text's classes, a token's, or the tokens of a gap.

    student [n, classes]; teacher the same, or None where nobody asked one; labels [n], numbers of classes or, with a
    single class, values; temperature a number, or one an answer [n, 1]. Where the choice is among the tokens of an
    answer's own text, `real` [n, classes] bool tells them from padding, whose logits are far below all others.
    """

    student: Tensor
    teacher: Tensor | None
    labels: Tensor
    temperature: float | Tensor = 1.0
    real: Tensor | None = None

    def taught(self) -> Tensor:
        """The teacher's logits in fp32, which an objective that needs a teacher is always given."""
        assert self.teacher is not None
        return self.teacher.float()


@dataclass(frozen=True)
class Match:
    """One student layer and its teacher layers, counted from 0; -1 is the embedding, which comes before all layers.

    `project` takes [..., width of the student's feature] to [..., widths of the teacher layers' together]; None for
    objectives that need no projection.
    """

    student_layer: int
    teacher_layers: tuple[int, ...]
    project: Callable[[Tensor], Tensor] | None = None


AnswerLoss = Callable[[Answers], Tensor]
LayerLoss = Callable[[Features, Features, Match], Tensor]


@dataclass(frozen=True)
class AnswerObjective:
    """A loss of answers, and what it is the mean over (`distill.counts`).

    `each_alone`: it is the mean of what each answer loses by itself, and so may be made of some after others.
    """

    loss: AnswerLoss
    needs_teacher: bool = True
    per: Unit = "answers"
    each_alone: bool = False


@dataclass(frozen=True)
class LayerObjective:
    """A loss of one matched pair of layers (student's features, teacher's, which layers), and the features it wants.

    `projects` names the feature of the student that is brought to the teacher's width first. `of_embedding` says that
    it makes sense for the embedding as well. `per` is what the loss is the mean over (`distill.counts`).
    """

    loss: LayerLoss
    wants: frozenset[str]
    projects: str | None = None
    of_embedding: bool = False
    per: Unit = "tokens"


Objective = AnswerObjective | LayerObjective

NEVER = -1e9

OBJECTIVES: Registry[Objective] = Registry("objective")


def answer_objective(
    name: str, needs_teacher: bool = True, per: Unit = "answers", each_alone: bool = False
) -> Callable[[AnswerLoss], AnswerLoss]:
    """Decorator that files a loss of answers under `name`."""

    def file(loss: AnswerLoss) -> AnswerLoss:
        OBJECTIVES.register(name)(AnswerObjective(loss, needs_teacher, per, each_alone))
        return loss

    return file


def layer_objective(
    name: str, *wants: str, projects: str | None = None, of_embedding: bool = False, per: Unit = "tokens"
) -> Callable[[LayerLoss], LayerLoss]:
    """Decorator that files a loss of layers, which looks at the features `wants`, under `name`."""

    def file(loss: LayerLoss) -> LayerLoss:
        OBJECTIVES.register(name)(LayerObjective(loss, frozenset(wants), projects, of_embedding, per))
        return loss

    return file


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of [B, S] values over the real tokens; mask [B, S] bool. What stands at padding may be anything."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)


def seen_pairs(features: Features) -> Tensor:
    """[B, S, S]: where token i looks at token j. Neither is padding, and in a causal model j is not after i."""
    pairs = features.mask[:, :, None] & features.mask[:, None, :]
    return pairs.tril() if features.causal else pairs


def pair_mean(values: Tensor, features: Features) -> Tensor:
    """Mean of [B, S, S] values over `seen_pairs`."""
    pairs = seen_pairs(features)
    return torch.where(pairs, values, 0.0).sum() / pairs.sum().clamp(min=1)


def over_seen(scores: Tensor, features: Features) -> Tensor:
    """Scores [B, heads, S, S] in fp32 with those of pairs that are not seen so low that a softmax gives them nothing.

    They stay finite, so that a row of padding gives numbers.
    """
    return scores.float().masked_fill(~seen_pairs(features)[:, None], NEVER)


def of_texts(layer: Tensor, features: Features) -> Tensor:
    """A layer's [B, S, w] at each text's first token in fp32 [B, w]; in a causal model, whose first token has seen
    nothing, at its last."""
    if not features.causal:
        return layer[:, 0].float()
    last = features.mask.sum(1).clamp(min=1) - 1
    return layer[torch.arange(len(layer), device=layer.device), last].float()
