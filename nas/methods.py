"""A search method as data: what prepares it, which candidates there are, who proposes and scores them, the recipe."""

from dataclasses import dataclass, field, replace

from distill.growth import Growth
from nas.controllers import CONTROLLERS
from nas.reward import Reward
from runs.registry import Registry

BY_DIVERGENCE = "mini-distillation"
MINI_DISTILLATIONS = (BY_DIVERGENCE, "mini-distillation-loss")
"""The proxies that teach a candidate briefly."""

LEARNED = "learned"
"""The proxy that goes by what candidates of earlier searches were worth, and trains nothing."""


@dataclass(frozen=True)
class Method:
    """One cell of preparation x rule x proxy x controller x recipe, each named in its own registry; any space fits."""

    name: str
    controller: str
    proxy: str = "mini-distillation"
    recipe: str = "default"
    preparation: str = "none"
    sampling: str = "sandwich"
    """Which parts of a supernet learn in a step (`distill.supernet_lesson`)."""
    parts: int = 3
    """Of a supernet that learn in each step."""
    growth: Growth | None = None
    """How a supernet grows as it learns, if it does (`distill.growth`)."""
    candidates: int | None = None
    """Tried in each episode; None: as many as the effort says."""
    space: str = "hybrid"
    """Searched where nobody says which."""
    rule: str = "none"
    """Which members of the space are tried at all."""
    reward: Reward = field(default_factory=Reward)

    @property
    def teaches(self) -> bool:
        """Whether it teaches each candidate for itself."""
        return self.proxy in MINI_DISTILLATIONS

    @property
    def only_teaches(self) -> bool:
        """Whether it takes nothing of a teacher but what that answers, so that students may start from nothing."""
        return self.teaches and self.preparation == "none" and self.recipe == "default"

    @property
    def foretells(self) -> bool:
        """Whether it tries no candidate itself."""
        return self.proxy == LEARNED

    @property
    def learns(self) -> bool:
        """Whether it makes use of what candidates of earlier searches were worth (`nas.earlier_trials`)."""
        return self.foretells or CONTROLLERS[self.controller].learns


# As docs/methods.md has it: single paths through a supernet that grows, relational lessons, a genetic search.
ELM = Method(
    "elm",
    controller="genetic",
    proxy="supernet",
    recipe="elm",
    preparation="supernet",
    sampling="uniform",
    parts=1,
    growth=Growth(),
    candidates=50,
    space="elm-small",
)

METHODS: Registry[Method] = Registry("method")
for _method in (
    Method("kd-nas", controller="kd-nas"),
    # As docs/methods.md has it: the recipe, its loss as score, and the reward with its latency.
    Method(
        "kd-nas-paper",
        controller="kd-nas",
        proxy="mini-distillation-loss",
        recipe="kd-nas",
        reward=Reward(alpha=-0.06),
    ),
    # As docs/methods.md has it: parts of a supernet by its own weights, 25 in a generation.
    Method("autotinybert", controller="evolution", proxy="supernet", preparation="supernet", candidates=25),
    Method(
        "autotinybert-fast",
        controller="evolution",
        proxy="supernet",
        preparation="supernet",
        candidates=25,
        rule="fast-development",
    ),
    # As docs/methods.md has it: the lesson of its supernet as well, and which parts learn in a step.
    Method(
        "autotinybert-paper",
        controller="evolution",
        proxy="supernet",
        recipe="autotinybert",
        preparation="supernet",
        sampling="batch-wise",
        candidates=25,
    ),
    # Parts go on from the supernet for a few steps, in which they part ways, before they are judged.
    Method("autotinybert-steps", controller="evolution", preparation="supernet"),
    ELM,
    # What of it is worth what: one thing each is left out, or done as others do it.
    replace(ELM, name="elm-fixed-dimension", growth=Growth(dimension=False)),
    replace(ELM, name="elm-fixed-heads", growth=Growth(heads=False)),
    replace(ELM, name="elm-plain-features", recipe="elm-plain"),
    Method("evolution", controller="evolution"),
    # Which parts lose least together, by what each loses alone.
    Method("integer-programming", "integer-programming", preparation="replaced-parts", space="pruning"),
    # Nothing is trained for a candidate, so that many can be asked for.
    Method("learned", controller="evolution", proxy=LEARNED, candidates=100),
    Method("local", controller="local"),
    Method("nsga2", controller="nsga2"),
    # Parts of the teacher as it stands, which learn from the whole of it, and a front of them.
    Method("pruning", "nsga2", "supernet", preparation="supernet", sampling="in-place", candidates=25, space="pruning"),
    Method("random", controller="random"),
    Method("ridge", controller="ridge"),
    # The training-free form of ELM's search: as docs/methods.md has it, 50 in a generation.
    Method("w-pca", controller="genetic", proxy="w-pca", candidates=50),
    # What a candidate starts from is all that it is judged by, so that more can be.
    Method("zero-step", controller="evolution", proxy="zero-step", candidates=25),
):
    METHODS.register(_method.name)(_method)
