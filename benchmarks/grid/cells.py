"""What is compared: cells, each one student taught in one way with one seed, in stages that decide one axis each."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from distill.matching import MATCHINGS
from distill.objectives import OBJECTIVES, LayerObjective
from distill.recipe import Optimization, Recipe, Term
from distill.recipe_file import RECIPES
from runs.files import content_hash

FEATURES_END = 0.3
"""Share of a run that a loss over layers gets before the answers; the named recipes that have two stages give it more,
which short runs do not bear."""

ALIKE = ("attention-ce", "relations-qq", "relations-kk", "relations-vv")
"""Of `attention-kl`, and of `relations`."""

ANSWERS = Term("logits", temperature=2.0)


@dataclass(frozen=True)
class Shape:
    """Equal layers: layers × hidden width, heads, feed-forward width."""

    layers: int
    hidden_width: int
    heads: int
    ffn_width: int

    @property
    def name(self) -> str:
        """As in "4x312"."""
        return f"{self.layers}x{self.hidden_width}"


SMALL, LARGE = Shape(2, 192, 6, 768), Shape(4, 312, 12, 1200)
"""The second is TinyBERT-4's."""

DEEP, WIDE = Shape(4, 192, 6, 768), Shape(2, 384, 12, 1536)
"""One of more layers, to be matched with others; and one of MiniLM-L6's widths, which whole layers need."""


@dataclass(frozen=True)
class Cell:
    """One student. `arm` is what is compared in a `table` of its `stage`; without `steps` it gets its recipe's."""

    stage: str
    table: str
    task: str
    shape: Shape
    arm: str
    recipe: Recipe
    steps: int | None
    seed: int

    @property
    def key(self) -> str:
        """Names everything that decides the outcome but the teacher."""
        parts = {**asdict(self), "recipe": self.recipe.to_json() | {"name": ""}, "arm": "", "stage": "", "table": ""}
        return content_hash(parts, 16)

    @property
    def place(self) -> str:
        """Where its outcome stands among the results."""
        return f"{self.stage}/{self.table}/{self.arm}/{self.seed}/{self.key}"


def recipe(
    *terms: Term,
    start: str = "refitted",
    layer_map: str = "uniform",
    learning_rate: float = 3e-4,
    steps: int = 1,
    augment: int = 0,
) -> Recipe:
    """Terms from a start; the length is the cell's, or `steps` where that has none."""
    settings = Optimization(learning_rate=learning_rate, epochs=1e-9, minimum_steps=steps)
    return Recipe("grid", terms, settings, start, layer_map, augment)


def in_two_stages(objective: str, matching: Any) -> Recipe:
    """A loss over layers, then the answers."""
    return recipe(Term(objective, matching=matching, end=FEATURES_END), replace(ANSWERS, start=FEATURES_END))


Arm = tuple[Shape, Recipe]
Tables = dict[str, dict[str, Arm]]
"""Title → arm → how. The first arm of a table is the one that the others are held against."""

STAGES: dict[str, Callable[[], Tables]] = {}


def of(shape: Shape, recipes: dict[str, Recipe]) -> dict[str, Arm]:
    """Arms of one shape."""
    return {name: (shape, one) for name, one in recipes.items()}


def stage(name: str) -> Callable[[Callable[[], Tables]], Callable[[], Tables]]:
    """Register a stage."""

    def register(make: Callable[[], Tables]) -> Callable[[], Tables]:
        STAGES[name] = make
        return make

    return register


@stage("start")
def starts() -> Tables:
    """What a student starts from, taught by answers alone."""
    cut = {
        "refitted": recipe(ANSWERS),
        "sliced": recipe(ANSWERS, start="sliced"),
        "random": recipe(ANSWERS, start="random"),
        # What starts from nothing bears, and needs, larger steps.
        "random, rate 1e-3": recipe(ANSWERS, start="random", learning_rate=1e-3),
    }
    maps = {f"layers {name}": recipe(ANSWERS, layer_map=name) for name in ("first", "last")}
    whole = {f"whole layers {name}": recipe(ANSWERS, start="teacher-layers", layer_map=name)
             for name in ("uniform", "first", "last")}  # fmt: skip
    large = {name: cut[name] for name in ("refitted", "random, rate 1e-3")}
    return {SMALL.name: of(SMALL, cut | maps), WIDE.name: of(WIDE, whole), LARGE.name: of(LARGE, large)}


@stage("knowledge")
def knowledge() -> Tables:
    """Which knowledge teaches: answers of every kind; and each loss over layers for the first 30 % of a run and answers
    for the rest, or some of them beside the answers throughout. What has another's gradient, or is a part of it, is
    left out."""
    answers = {
        "logits": recipe(ANSWERS),
        "labels": recipe(Term("labels")),
        "logits + labels": recipe(replace(ANSWERS, weight=0.5), Term("labels", weight=0.5)),
        "logits at 1": recipe(replace(ANSWERS, temperature=1.0)),
        "logits at 4": recipe(replace(ANSWERS, temperature=4.0)),
        "logits-mse": recipe(Term("logits-mse")),
        "logits-dist": recipe(Term("logits-dist")),
    }
    layered = [name for name in OBJECTIVES.names() if isinstance(OBJECTIVES[name], LayerObjective)]
    rules = {name: "last-layer" if name in ("minilm", "relations") else "uniform"
             for name in layered if name not in ALIKE}  # fmt: skip
    before = {f"{name}, then logits": in_two_stages(name, rule) for name, rule in rules.items()}
    beside = {f"{name} and logits": recipe(Term(name, matching=rules[name]), ANSWERS)
              for name in ("hidden", "hidden-cosine", "pkd", "elm-output", "relations")}  # fmt: skip
    inside = {"logits": answers["logits"]} | before | beside
    return {f"answers for {SMALL.name}": of(SMALL, answers), f"layers for {SMALL.name}": of(SMALL, inside)}


@stage("matching")
def matchings() -> Tables:
    """From which layers it is best learnt, by a loss over hidden states and one over relations."""
    rules = [name for name in MATCHINGS.names() if name != "embeddings"]
    arms = {f"hidden, {rule}": in_two_stages("hidden", rule) for rule in rules}
    arms |= {f"relations, {rule}": in_two_stages("relations", rule) for rule in ("uniform", "last-layer")}
    return {DEEP.name: of(DEEP, {"logits": recipe(ANSWERS)} | arms)}


SMALL_BUDGET = (SMALL, Shape(1, 512, 16, 2048), Shape(3, 128, 4, 544), Shape(4, 96, 3, 448), Shape(6, 64, 2, 304))
LARGE_BUDGET = (LARGE, Shape(2, 544, 17, 2032), Shape(6, 256, 8, 800))
"""Shapes that a profile of PyTorch on a Zen 4 core (batch 1, 128 tokens) predicts as fast as the first within 1.5 %."""


@stage("shape")
def shapes() -> Tables:
    """Wide or deep at equal latency, each with the shape's own best case: cut from the teacher and refitted."""
    return {
        f"as fast as {budget[0].name}": {shape.name: (shape, recipe(ANSWERS)) for shape in budget}
        for budget in (SMALL_BUDGET, LARGE_BUDGET)
    }


@stage("length")
def lengths() -> Tables:
    """Longer runs, larger steps, copies of the texts with words replaced (`augment`), and words moved to where the loss
    grows (`adversarial`), taught by answers alone."""
    arms = {
        f"{steps} steps{f', {copies} copies' if copies else ''}{', rate 6e-4' if rate > 3e-4 else ''}": recipe(
            ANSWERS, steps=steps, augment=copies, learning_rate=rate
        )
        for steps, copies, rate in ((500, 0, 3e-4), (500, 4, 3e-4), (500, 0, 6e-4), (2000, 0, 3e-4), (2000, 4, 3e-4),
                                    (2000, 9, 6e-4))
    }  # fmt: skip
    plain = recipe(ANSWERS, steps=500)
    moved = replace(plain.optimization, adversarial=0.2)
    arms["500 steps, words moved"] = replace(plain, optimization=moved)
    return {SMALL.name: of(SMALL, arms)}


@stage("ahead")
def ahead() -> Tables:
    """Other knowledge where a run is as long as the default's: labels beside the answers; relations of the last layer
    for a part of it, ahead of the answers; and, on the texts alone, the two named recipes that did best in short
    runs."""
    shipped = RECIPES["default"]
    halves = tuple(replace(term, weight=0.5) for term in (*shipped.terms, Term("labels")))
    arms = {"answers alone": shipped, "answers and labels": replace(shipped, terms=halves)}
    first = Term("minilm", matching="last-layer", end=FEATURES_END)
    later = tuple(replace(term, start=FEATURES_END) for term in shipped.terms)
    arms[f"relations for {FEATURES_END:.0%}"] = replace(shipped, terms=(first, *later))
    for name in ("pkd", "elm"):
        arms[f"{name}, no copies"] = replace(shipped, terms=RECIPES[name].terms, augment=0)
    return {SMALL.name: of(SMALL, arms)}


@stage("recipe")
def recipes() -> Tables:
    """Every named recipe and labels alone, from the same start and without copies."""
    named = {
        name: replace(RECIPES[name], initialization="refitted", layer_map="uniform", augment=0)
        for name in RECIPES.names()
        if name not in ("labels", "from-random")
    }
    return {SMALL.name: of(SMALL, {"labels": RECIPES["labels"]} | named)}


@stage("default")
def shipped() -> Tables:
    """The default recipe as it is shipped, for as many steps as it says."""
    return {shape.name: {"default": (shape, RECIPES["default"])} for shape in (SMALL, LARGE)}


AS_SHIPPED = "default"
"""The stage that is read on the test split."""

OWN_LENGTH = (AS_SHIPPED, "length", "ahead")
"""Stages whose recipes say how long they are."""


def cells_of(name: str, task: str, steps: int, seeds: range) -> Iterator[Cell]:
    """All of a stage's cells of one task, seed after seed so that a stopped run has whole comparisons."""
    for seed in seeds:
        for table, arms in STAGES[name]().items():
            for arm, (shape, how) in arms.items():
                yield Cell(name, table, task, shape, arm, how, None if name in OWN_LENGTH else steps, seed)
