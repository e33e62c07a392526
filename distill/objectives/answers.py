"""Losses of answers: hard labels, softened logits, and how a temperature may differ from answer to answer."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.objectives.contract import Answers, answer_objective
from runs.registry import Registry
from students.headed import UNLABELLED

SMALL = 1e-6


@answer_objective("labels", needs_teacher=False, per="labels", each_alone=True)
def hard_labels(answers: Answers) -> Tensor:
    """Cross entropy with the data's labels; their mean squared error where they are values. No teacher.

    What is not labelled does not count, and a batch without any label has the loss 0.
    """
    if answers.labels.is_floating_point():
        known = ~answers.labels.isnan()
        errors = (answers.student.float().squeeze(-1)[known] - answers.labels[known].float()).square()
        return errors.sum() / known.sum().clamp(min=1)
    if not (answers.labels != UNLABELLED).any():
        return answers.student.float().sum() * 0.0
    return F.cross_entropy(answers.student.float(), answers.labels, ignore_index=UNLABELLED)


def values_apart(answers: Answers) -> Tensor | None:
    """Mean squared difference to the teacher of values [n, 1], which no softmax tells apart; None of classes."""
    if answers.student.shape[-1] > 1:
        return None
    return (answers.student.float() - answers.taught()).square().mean()


def _softened(answers: Answers) -> tuple[Tensor, Tensor]:
    """Log probabilities of student and teacher at the temperature, [n, classes] each."""
    ours = F.log_softmax(answers.student.float() / answers.temperature, dim=-1)
    return ours, F.log_softmax(answers.taught() / answers.temperature, dim=-1)


def _at_full_size(losses: Tensor, temperature: float | Tensor) -> Tensor:
    """Mean of [n] losses times T², which keeps the gradient's size whatever the temperature (Hinton et al. 2015)."""
    if isinstance(temperature, Tensor):
        temperature = temperature.squeeze(-1)
    return (losses * temperature**2).mean()


@answer_objective("logits", each_alone=True)
def soft_logits(answers: Answers) -> Tensor:
    """T² · KL(teacher ‖ student), both softmax(logits / T) (Hinton et al. 2015); of values their squared difference."""
    if (apart := values_apart(answers)) is not None:
        return apart
    ours, theirs = _softened(answers)
    return _at_full_size((theirs.exp() * (theirs - ours)).sum(-1), answers.temperature)


@answer_objective("logits-ce", each_alone=True)
def soft_cross_entropy(answers: Answers) -> Tensor:
    """-T² · Σ p_teacher · log p_student (Hinton et al. 2015): the KL above and the teacher's own entropy, with the same
    gradient."""
    if (apart := values_apart(answers)) is not None:
        return apart
    ours, theirs = _softened(answers)
    return _at_full_size(-(theirs.exp() * ours).sum(-1), answers.temperature)


@answer_objective("logits-mse", each_alone=True)
def logits_squared_error(answers: Answers) -> Tensor:
    """MSE of the logits over the temperature (1: of the logits themselves; Ba and Caruana 2014, arXiv 1312.6184)."""
    difference = (answers.student.float() - answers.taught()) / answers.temperature
    return _mean_of_rows(difference.square(), answers.real).mean()


def _mean_of_rows(values: Tensor, real: Tensor | None) -> Tensor:
    """[n, m] → [n], over the real ones; what stands at the others may be anything."""
    if real is None:
        return values.mean(-1)
    return torch.where(real, values, 0.0).sum(-1) / real.sum(-1).clamp(min=1)


def _correlation(ours: Tensor, theirs: Tensor, real: Tensor | None = None) -> Tensor:
    """Pearson's of each pair of rows [n, m] → [n], over the real ones; 0 where a row is constant."""
    ours, theirs = (values - _mean_of_rows(values, real)[:, None] for values in (ours, theirs))
    return _cosine(ours, theirs, real)


def _cosine(ours: Tensor, theirs: Tensor, real: Tensor | None) -> Tensor:
    """Of each pair of rows [n, m] → [n], over the real ones."""
    if real is not None:
        ours, theirs = (torch.where(real, values, 0.0) for values in (ours, theirs))
    return F.cosine_similarity(ours, theirs, dim=-1, eps=SMALL)


@answer_objective("logits-dist")
def correlated_answers(answers: Answers) -> Tensor:
    """T²·(1 - mean ρ of each example's classes) + T²·(1 - mean ρ of each class's examples), of softened probabilities.

    DIST (Huang et al. 2022) with its two weights at 1, as ELM uses it. A single example says nothing of classes, nor do
    the tokens of a gap, which in every text are others; of values their squared difference counts.
    """
    if (apart := values_apart(answers)) is not None:
        return apart
    ours, theirs = (logs.exp() for logs in _softened(answers))
    temperature = answers.temperature
    scale = float(temperature.mean()) if isinstance(temperature, Tensor) else temperature
    loss = 1 - _correlation(ours, theirs, answers.real).mean()
    if len(ours) > 1 and answers.real is None:
        loss = loss + 1 - _correlation(ours.T, theirs.T).mean()
    return loss * scale**2


TemperatureRule = Callable[[Answers, float, float], float | Tensor]

TEMPERATURES: Registry[TemperatureRule] = Registry("temperature rule")
"""Name → a function of (answers, temperature T, strength β) to a temperature, one for all or one an answer [n, 1]."""

LEAST_TEMPERATURE = 0.5
"""A rule may take an answer's temperature down, but not to 0 and below."""


@TEMPERATURES.register("constant")
def constant(answers: Answers, temperature: float, strength: float) -> float:
    """T for every answer."""
    return temperature


def _around(temperature: float, strength: float, weight: Tensor) -> Tensor:
    """T + β·(mean of the weights - weight), for weights [n]."""
    return (temperature + strength * (weight.mean() - weight)).clamp(min=LEAST_TEMPERATURE)[:, None]


@TEMPERATURES.register("flsw")
@torch.no_grad()
def focal(answers: Answers, temperature: float, strength: float) -> Tensor:
    """FLSW: weights 1 - cos(student logits, teacher logits), so that what the student has wrong is taught sharper.

    As TextBrewer has it with γ = 1, after arXiv 1911.07471.
    """
    return _around(temperature, strength, 1 - _cosine(answers.student.float(), answers.taught(), answers.real))


@TEMPERATURES.register("cwsm")
@torch.no_grad()
def confident(answers: Answers, temperature: float, strength: float) -> Tensor:
    """CWSM: weights 1 / the student's greatest probability, so that what it is unsure of is taught sharper.

    As TextBrewer has it, after arXiv 1911.07471.
    """
    return _around(temperature, strength, 1 / answers.student.float().softmax(-1).amax(-1).clamp(min=1e-3))


def shifted(teacher: Tensor, labels: Tensor) -> Tensor:
    """The teacher's logits [n, classes] with the label's made the greatest: the two change places where it was not.

    Probability shift (arXiv 1911.07471): a wrong teacher then still says how sure it was, but of the right class.
    Values stay as they are.
    """
    if labels.is_floating_point():
        return teacher
    rows = torch.nonzero(labels != UNLABELLED)[:, 0]
    right, wrong = labels[rows], teacher[rows].argmax(-1)
    result = teacher.clone()
    result[rows, right], result[rows, wrong] = teacher[rows, wrong], teacher[rows, right]
    return result
