"""Cheap estimates of how good a student would be: brief training, a start, a supernet's weights, earlier searches."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import exp
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from distill.classroom import classroom
from distill.components import principal_components
from distill.mini import MiniScore, mini_distil, untaught
from distill.numerics import training_device
from distill.recipe import Recipe
from distill.supernet import judge_part
from distill.tasks import Task
from distill.teachers import Teacher
from nas.controllers.pool import Codes
from nas.controllers.shape_features import foretell, shape_features
from nas.methods import LEARNED
from nas.reward import normalise
from runs.errors import UserError
from runs.registry import Registry
from students.space import SearchSpace
from students.spec import StudentSpec, TransformerLayer

COMPONENT_TEXTS = 256
"""Of the validation split, of which principal components are taken."""

USUAL_WORTH = 1e9
"""Weights times components of a small student: where losses of the worth are about as far apart as others."""


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
    rate: float = 1.0
    """How many times the recipe's learning rate mini-distillations have."""
    space: SearchSpace | None = None
    known: tuple[tuple[Codes, tuple[float, ...]], ...] = ()
    """What earlier searches of the space tried: of each budget the candidates' codes [n, genes] and rewards [n]."""


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
    """Distil briefly and take the divergence from the teacher (`distill.mini`), a quieter score than accuracy."""
    mini = _mini(spec, tryout)
    return _score(mini, mini.kl)


@PROXIES.register("mini-distillation-loss")
def by_training_loss(spec: StudentSpec, tryout: Tryout) -> ProxyScore:
    """Distil briefly and take the recipe's own last loss, which is what KD-NAS scores (docs/methods.md)."""
    mini = _mini(spec, tryout, thoroughly=False)
    return _score(mini, mini.loss)


@PROXIES.register("zero-step")
def by_start(spec: StudentSpec, tryout: Tryout) -> ProxyScore:
    """Take the divergence from the teacher on validation of what the student starts from."""
    mini = untaught(spec, tryout.teacher, tryout.task, tryout.recipe, tryout.seed)
    return _score(mini, mini.kl)


@PROXIES.register("replaced-parts")
def by_replaced_parts(spec: StudentSpec, tryout: Tryout) -> ProxyScore:
    """Add up what each layer's attention and feed-forward lose alone, while all others are as large as the teacher's.

    It is what `--method integer-programming` chooses by, asked of one candidate; nothing is trained. Raises `UserError`
    for layers that are no transformer's.
    """
    start = perf_counter()
    layers = [layer for layer in spec.layers if isinstance(layer, TransformerLayer)]
    if len(layers) < len(spec.layers):
        raise UserError("what replaced parts lose adds up for transformer layers alone: choose another proxy.")
    like = classroom(tryout.teacher, tryout.task).student_form.config.spec_object.layers[0]
    assert isinstance(like, TransformerLayer)
    full = [replace(like, activation=layer.activation) for layer in layers]

    def loss(place: int = 0, layer: TransformerLayer = full[0]) -> float:
        student = replace(spec, layers=(*full[:place], layer, *full[place + 1 :]))
        return untaught(student, tryout.teacher, tryout.task, tryout.recipe, tryout.seed).kl

    whole = loss()
    added = 0.0
    for place, (layer, large) in enumerate(zip(layers, full, strict=True)):
        for part in (replace(layer, ffn_width=large.ffn_width), replace(large, ffn_width=layer.ffn_width)):
            added += max(0.0, loss(place, part) - whole)
    details = {"kl": whole + added, "whole": whole}
    return ProxyScore(normalise(whole + added), details, round(perf_counter() - start, 3))


@PROXIES.register("w-pca")
def by_components(spec: StudentSpec, tryout: Tryout) -> ProxyScore:
    """Weights times the principal components of all feed-forwards (W-PCA, docs/methods.md), of what the student starts
    from on some texts of validation; the more the better, so that the loss falls with it. Nothing is trained."""
    start = perf_counter()
    room = classroom(tryout.teacher, tryout.task)
    student = room.start(spec, tryout.recipe, tryout.seed)
    torch.nn.Module.to(student, training_device())
    texts = room.validation.take(np.arange(min(COMPONENT_TEXTS, len(room.validation))))
    components = sum(principal_components(student, texts).values())
    worth = float(spec.parameters() * components)
    details = {"components": float(components), "worth": worth}
    return ProxyScore(normalise(USUAL_WORTH / max(worth, 1.0)), details, round(perf_counter() - start, 3))


@PROXIES.register("supernet")
def by_inherited_weights(spec: StudentSpec, tryout: Tryout) -> ProxyScore:
    """Take the divergence from the teacher on validation of a supernet's part, as AutoTinyBERT takes its score."""
    assert tryout.supernet is not None
    mini = judge_part(spec, tryout.supernet, tryout.teacher, tryout.task)
    return _score(mini, mini.kl)


@PROXIES.register(LEARNED)
def by_earlier_searches(spec: StudentSpec, tryout: Tryout) -> ProxyScore:
    """Take what a ridge regression over shapes says that has seen earlier searches' candidates; nothing is trained.

    Each budget's features and rewards count as differences from their own mean, so the loss ranks candidates, and says
    nothing of how good they are.
    """
    start, space = perf_counter(), tryout.space
    assert space is not None
    shapes = [shape_features(space, codes) for codes, _ in tryout.known]
    features = [one - one.mean(axis=0) for one in shapes]
    rewards = [np.array(values) for _, values in tryout.known]
    worth = [(one - one.mean()) / (one.std() or 1.0) for one in rewards]
    asked = shape_features(space, space.encode([spec])) - np.concatenate(shapes).mean(axis=0)
    better = float(foretell(np.concatenate(features), np.concatenate(worth), asked)[0])
    return ProxyScore(1.0 / (1.0 + exp(better)), {"foretold": better}, round(perf_counter() - start, 3))


def _mini(spec: StudentSpec, tryout: Tryout, thoroughly: bool = True) -> MiniScore:
    training = tryout.recipe.optimization
    training = replace(training, learning_rate=tryout.rate * training.learning_rate)
    # A recipe may draw from torch's process-wide generator (dropout); seeded here, a candidate scores the same whether
    # it comes first after a restart or last of many.
    with torch.random.fork_rng():
        torch.manual_seed(tryout.seed)
        return mini_distil(
            spec,
            tryout.teacher,
            tryout.task,
            replace(tryout.recipe, optimization=training),
            steps=tryout.steps,
            subset=tryout.subset,
            thoroughly=thoroughly,
            seed=tryout.seed,
        )


def _score(mini: MiniScore, loss: float) -> ProxyScore:
    details = {"loss": mini.loss, "kl": mini.kl, "validation_score": mini.validation_score, "steps": float(mini.steps)}
    return ProxyScore(normalise(loss), details, mini.seconds)
