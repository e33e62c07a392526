"""What a recipe is: how a student starts, which losses teach it when, and for how long. All of it data."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import inf
from typing import Any

from distill.batches import steps_per_epoch
from distill.features import require_attention
from distill.matching import LAYER_MAPS, Matching, as_matching, layer_pairs
from distill.objectives import OBJECTIVES, AnswerObjective, LayerObjective
from distill.objectives.answers import TEMPERATURES
from runs.errors import UserError
from runs.registry import Registry
from students.spec import StudentSpec

WEIGHTS: Registry[Callable[[float], float]] = Registry("weight rule")
"""Name → what a term's weight is multiplied by, by the share (0 to 1) of the term's own part that is done."""

WEIGHTS.register("constant")(lambda share: 1.0)
WEIGHTS.register("growth")(lambda share: share)
WEIGHTS.register("decay")(lambda share: 1.0 - share)


@dataclass(frozen=True)
class Term:
    """One loss of a recipe. It acts while the share of the run already done lies in [start, end).

    `matching` is for losses of layers; `temperature` and what follows are for losses of answers: the rule that sets
    each answer's temperature and its strength (`distill.objectives.answers.TEMPERATURES`), and whether the label takes
    the place of what the teacher wrongly holds most likely.
    """

    objective: str
    weight: float = 1.0
    temperature: float = 1.0
    matching: Matching = "uniform"
    start: float = 0.0
    end: float = 1.0
    weight_rule: str = "constant"
    temperature_rule: str = "constant"
    temperature_strength: float = 1.0
    shift: bool = False

    def __post_init__(self) -> None:
        """Names must be registered, numbers make sense."""
        objective = OBJECTIVES[self.objective]
        WEIGHTS[self.weight_rule]
        TEMPERATURES[self.temperature_rule]
        object.__setattr__(self, "matching", as_matching(self.matching))
        positive = all(0 < number < inf for number in (self.weight, self.temperature))
        if not (positive and 0 <= self.start < self.end <= 1 and abs(self.temperature_strength) < inf):
            raise UserError(
                f"the term {self.objective!r} needs weight and temperature above 0, 0 ≤ start < end ≤ 1 and a "
                "finite temperature_strength."
            )
        if isinstance(objective, AnswerObjective) and self.matching != "uniform":
            raise UserError(f"the term {self.objective!r} is about answers, not layers: give it no matching.")
        if self.matching == "embeddings" and not (isinstance(objective, LayerObjective) and objective.of_embedding):
            raise UserError(f"the term {self.objective!r} cannot be matched to embeddings: it is about layers.")

    def weight_at(self, share_done: float) -> float:
        """The weight at a share of the run."""
        return self.weight * WEIGHTS[self.weight_rule]((share_done - self.start) / (self.end - self.start))


@dataclass(frozen=True)
class Optimization:
    """AdamW with linear warm-up over `warmup` (share of the steps) and linear decay to 0.

    A run is `epochs` long, on little data as many epochs as make `minimum_steps`, or `steps_per_class` for each class.
    """

    learning_rate: float
    epochs: float
    batch_size: int = 32
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    minimum_steps: int = 300
    steps_per_class: int = 0
    """Many classes take longer to tell apart, however few examples there are."""
    patience: int | None = None
    """Checkpoints without a better score on validation after which a run ends; None: it never ends early."""
    accumulate: int = 1
    """Batches of a step: their gradients make one, as if all their texts had stood in one batch."""
    average: float = 0.0
    """Share that a moving average of the weights keeps of itself at each step; what is taught ends with that average.
    0: it ends as it is after its last step."""
    adversarial: float = 0.0
    """How far all word embeddings of a text together are moved to where its loss grows, to be learnt from as well: a
    share of their mean length (`distill.adversarial`). 0: not at all."""

    def __post_init__(self) -> None:
        """Numbers must make sense."""
        for name in ("learning_rate", "epochs", "clip"):
            if not 0 < getattr(self, name) < inf:
                raise UserError(f"{name} of the optimization is {getattr(self, name)}: it must be above 0.")
        for name, least in (
            ("batch_size", 1),
            ("accumulate", 1),
            ("minimum_steps", 1),
            ("steps_per_class", 0),
            ("patience", 1),
        ):
            value = getattr(self, name)
            if not (name == "patience" and value is None) and (type(value) is not int or value < least):
                raise UserError(
                    f"{name} of the optimization is {value!r}: it must be a whole number of at least {least}."
                )
        if not (0 <= self.warmup < 1 and 0 <= self.average < 1):
            raise UserError("the optimization needs a warmup and an average from 0 to below 1.")
        if not (0 <= self.weight_decay < inf and 0 <= self.adversarial < inf):
            raise UserError("the optimization needs a weight_decay and an adversarial distance of at least 0.")

    @property
    def work(self) -> float:
        """How many times as long as a plain step a step takes."""
        return 2.0 if self.adversarial else 1.0

    @property
    def examples_per_step(self) -> int:
        """Texts of all batches of a step."""
        return self.batch_size * self.accumulate

    def steps(self, examples: int, classes: int = 0) -> int:
        """Steps of a full run over so many examples of so many classes."""
        least = max(self.minimum_steps, self.steps_per_class * classes)
        return max(least, round(self.epochs * steps_per_epoch(examples, self.examples_per_step)))


@dataclass(frozen=True)
class Recipe:
    """A way to make a student. `initialization` (a name, or an earlier model's folder) and `layer_map` (a matching) say
    what it starts from.

    Losses come in stages by their shares of the run; some term must act at every moment of it.
    """

    name: str
    terms: tuple[Term, ...]
    optimization: Optimization
    initialization: str = "refitted"
    layer_map: Matching = "uniform"
    augment: int = 0
    """Copies of each text with some words replaced, of tasks that can have such (`distill.course`)."""

    def __post_init__(self) -> None:
        """Names must be registered, and no part of the run may be without a loss."""
        object.__setattr__(self, "layer_map", as_matching(self.layer_map, "layer map", LAYER_MAPS))
        if type(self.augment) is not int or self.augment < 0:
            raise UserError(
                f"augment of the recipe {self.name!r} is {self.augment!r}: it must be a whole number, 0 or more."
            )
        taught = 0.0
        for term in sorted(self.terms, key=lambda term: term.start):
            if term.start > taught:
                break
            taught = max(taught, term.end)
        if taught < 1:
            raise UserError(f"the recipe {self.name!r} has no loss from {taught:.0%} of the run on: fill the gap.")

    def starting_layers(self, student_layers: int, layers: int, of: str = "the teacher") -> tuple[int, ...]:
        """The layer of a model (`of`) with so many that each student layer starts from, counted from 0.

        Raises `UserError` where a student layer has none.
        """
        pairs = layer_pairs(self.layer_map, student_layers, layers, "layer map", of)
        if [layer for layer, _ in pairs] != list(range(student_layers)):
            raise UserError(
                f"the layer map {self.layer_map!r} of the recipe {self.name!r} does not say where each of the "
                f"student's {student_layers} layers comes from: use {', '.join(LAYER_MAPS)}, or a list for all."
            )
        return tuple(layers[-1] for _, layers in pairs)

    def check(self, student: StudentSpec, teacher_layers: int) -> None:
        """Raise `UserError` where a term asks for layers or parts of them that are not there.

        To be asked before a teacher is fitted.
        """
        for term in self.terms:
            objective = OBJECTIVES[term.objective]
            if isinstance(objective, LayerObjective):
                layer_pairs(term.matching, len(student.layers), teacher_layers)
                require_attention(student, objective.wants)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and names, for hashes and files."""
        return asdict(self)
