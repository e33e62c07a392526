"""Cheap estimates of how good a student would be: mini-distillation on a subset, a start, a supernet's own weights."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from distill.mini import MiniScore, mini_distil, untaught
from distill.recipe import Recipe
from distill.supernet import judge_part
from distill.tasks import Task
from distill.teachers import Teacher
from nas.reward import normalise
from runs.registry import Registry
from students.spec import StudentSpec


@dataclass(frozen=True)
class Tryout:
    """What every candidate of a search is tried on, the same for all of them."""

    teacher: Teacher
    task: Task
    recipe: Recipe
    steps: int
    subset: float
    seed: int
    supernet: Path | None = None
    """Where the search has prepared one."""


@dataclass(frozen=True)
class ProxyScore:
    """`loss` is normalised to [0, 1], lower is better; `details` are plain numbers for the study."""

    loss: float
    details: dict[str, float]
    seconds: float


Proxy = Callable[[StudentSpec, Tryout], ProxyScore]

PROXIES: Registry[Proxy] = Registry("proxy")


@PROXIES.register("mini-distillation")
def by_divergence(spec: StudentSpec, tryout: Tryout) -> ProxyScore:
    """Distil briefly and take the divergence from the teacher on validation, a quieter score than accuracy."""
    mini = _mini(spec, tryout)
    return _score(mini, mini.kl)


@PROXIES.register("mini-distillation-loss")
def by_training_loss(spec: StudentSpec, tryout: Tryout) -> ProxyScore:
    """Distil briefly and take the recipe's own last loss, which is what KD-NAS scores (docs/methods.md)."""
    mini = _mini(spec, tryout)
    return _score(mini, mini.loss)


@PROXIES.register("zero-step")
def by_start(spec: StudentSpec, tryout: Tryout) -> ProxyScore:
    """Take the divergence from the teacher on validation of what the student starts from."""
    mini = untaught(spec, tryout.teacher, tryout.task, tryout.recipe, tryout.seed)
    return _score(mini, mini.kl)


@PROXIES.register("supernet")
def by_inherited_weights(spec: StudentSpec, tryout: Tryout) -> ProxyScore:
    """Take the divergence from the teacher on validation of a supernet's part, as AutoTinyBERT takes its score."""
    assert tryout.supernet is not None
    mini = judge_part(spec, tryout.supernet, tryout.teacher, tryout.task)
    return _score(mini, mini.kl)


def _mini(spec: StudentSpec, tryout: Tryout) -> MiniScore:
    # A recipe may draw from torch's process-wide generator (dropout); seeded here, a candidate scores the same whether
    # it comes first after a restart or last of many.
    with torch.random.fork_rng():
        torch.manual_seed(tryout.seed)
        return mini_distil(
            spec,
            tryout.teacher,
            tryout.task,
            tryout.recipe,
            steps=tryout.steps,
            subset=tryout.subset,
            seed=tryout.seed,
        )


def _score(mini: MiniScore, loss: float) -> ProxyScore:
    details = {"loss": mini.loss, "kl": mini.kl, "validation_score": mini.validation_score, "steps": float(mini.steps)}
    return ProxyScore(normalise(loss), details, mini.seconds)
