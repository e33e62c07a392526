"""What a recipe is: how a student starts, which losses teach it when, and for how long. All of it data."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from distill.batches import steps_per_epoch
from distill.matching import Matching, as_matching
from distill.objectives import OBJECTIVES, LayerObjective
from distill.objectives.answers import TEMPERATURES
from runs.errors import UserError
from runs.registry import Registry

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
        if not (self.weight > 0 and self.temperature > 0 and 0 <= self.start < self.end <= 1):
            raise UserError(f"the term {self.objective!r} needs weight and temperature above 0, 0 ≤ start < end ≤ 1.")
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

    def __post_init__(self) -> None:
        """A step has whole batches."""
        if not isinstance(self.accumulate, int) or self.accumulate < 1:
            raise UserError(f"accumulate is {self.accumulate}: it must be a whole number of batches, 1 or more.")

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

    def __post_init__(self) -> None:
        """Names must be registered, and no part of the run may be without a loss."""
        object.__setattr__(self, "layer_map", as_matching(self.layer_map))
        taught = 0.0
        for term in sorted(self.terms, key=lambda term: term.start):
            if term.start > taught:
                break
            taught = max(taught, term.end)
        if taught < 1:
            raise UserError(f"the recipe {self.name!r} has no loss from {taught:.0%} of the run on: fill the gap.")

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and names, for hashes and files."""
        return asdict(self)
