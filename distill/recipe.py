"""Recipes: how a student starts, which losses teach it when, and for how long. All of it data."""

from dataclasses import asdict, dataclass
from typing import Any

from distill.batches import steps_per_epoch
from distill.matching import MATCHINGS
from distill.objectives import OBJECTIVES
from runs.errors import UserError
from runs.registry import Registry


@dataclass(frozen=True)
class Term:
    """One loss of a recipe. It acts while the share of the run already done lies in [start, end)."""

    objective: str
    weight: float = 1.0
    temperature: float = 1.0
    matching: str = "uniform"
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        """Names must be registered, numbers make sense."""
        OBJECTIVES[self.objective]
        MATCHINGS[self.matching]
        if not (self.weight > 0 and self.temperature > 0 and 0 <= self.start < self.end <= 1):
            raise UserError(f"the term {self.objective!r} needs weight and temperature above 0, 0 ≤ start < end ≤ 1.")


@dataclass(frozen=True)
class Optimization:
    """AdamW with linear warm-up over `warmup` (share of the steps) and linear decay to 0.

    A run is `epochs` long, on little data as many epochs as make `minimum_steps`.
    """

    learning_rate: float
    epochs: float
    batch_size: int = 32
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    minimum_steps: int = 300

    def steps(self, examples: int) -> int:
        """Steps of a full run over so many examples."""
        return max(self.minimum_steps, round(self.epochs * steps_per_epoch(examples, self.batch_size)))


@dataclass(frozen=True)
class Recipe:
    """A way to make a student. `initialization` and `layer_map` (a matching) say what it starts from."""

    name: str
    terms: tuple[Term, ...]
    optimization: Optimization
    initialization: str = "sliced"
    layer_map: str = "uniform"

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and names, for hashes and files."""
        return asdict(self)


RECIPES: Registry[Recipe] = Registry("recipe")

for _recipe in (
    Recipe("default", (Term("logits", temperature=2.0),), Optimization(3e-4, 5)),
    Recipe(
        "kd-nas",
        # The hidden-state stage is the paper's; the second stage fits the answers, which it leaves to fine-tuning.
        (Term("hidden", matching="uniform+last", end=0.6), Term("logits", temperature=2.0, start=0.6)),
        Optimization(3e-4, 6),
    ),
    Recipe("labels", (Term("labels"),), Optimization(3e-4, 3)),
    # For layer types and shared weights, which cannot be cut from a teacher: what starts from nothing takes longer.
    Recipe("from-random", (Term("logits", temperature=2.0),), Optimization(1e-3, 10), initialization="random"),
):
    RECIPES.register(_recipe.name)(_recipe)
