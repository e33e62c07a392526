"""How much work a search does: the efforts by name, as numbers that the verdict repeats."""

from dataclasses import dataclass, replace
from math import ceil

from distill.kinds import KINDS, LanguageModel
from distill.recipe import Optimization, Recipe
from distill.teachers import fine_tuning
from runs.registry import Registry
from students.spec import HeadKind


@dataclass(frozen=True)
class Effort:
    """A search's schedule, counted in episodes, candidates and optimizer steps, never in time."""

    name: str
    episodes: int
    candidates: int
    """Tried in each episode, unless the method says how many."""
    subset: float
    """Share of train that every mini-distillation sees, drawn once."""
    finalists: int
    """Candidates timed on the target before anything is distilled in full."""
    distilled: int
    """Finalists distilled in full; the best on validation wins."""
    steps: int | None = None
    """Optimizer steps of one mini-distillation; None: `epochs` over the subset."""
    rate: float = 1.0
    """How many times the recipe's learning rate one has that is judged by its divergence: with more of it a brief
    training ranks students more like a long one (docs/benchmarks/proxies.md). A published score keeps its recipe's."""
    epochs: float = 0.0
    supernet_steps: int = 0
    """Optimizer steps of a method's supernet."""
    replaced: int = 1000
    """Most widths that are tried for every attention and feed-forward of a skeleton (`nas.additive`)."""
    final_work: float | None = None
    """Most of a full distillation, in steps of a student as slow as its teacher; None: as many as the recipe says."""
    blocks: int | None = None
    """Most blocks of text that a language model learns from in a step, where the recipe has more: one asks for as many
    words as a batch of texts has labels many times over. None: as many as the recipe has."""
    moved_words: bool = True
    """Whether the teacher is fitted to words moved to where its loss grows as well, which doubles its steps."""
    pool_size: int = 20_000
    exploration_step: float = 0.05

    def mini_steps(self, train_size: int, batch_size: int) -> int:
        """Optimizer steps of one mini-distillation on `train_size` examples in batches of `batch_size`."""
        if self.steps is not None:
            return self.steps
        return max(1, round(self.epochs * ceil(self.subset * train_size / batch_size)))

    @property
    def further_episodes(self) -> int:
        """Of a budget whose controller has learnt from another one's (docs/methods.md, "Ridge regression")."""
        return -(-self.episodes // 2)

    def fitting(self, kind: HeadKind) -> Optimization:
        """How the teacher of a task of this kind is fitted, if it is not yet."""
        usual = self._in_blocks(fine_tuning(kind), kind)
        return usual if self.moved_words else replace(usual, adversarial=0.0)

    def recipe(self, recipe: Recipe, kind: HeadKind) -> Recipe:
        """A method's recipe as a search of this effort has it for a task of this kind."""
        return replace(recipe, optimization=self._in_blocks(recipe.optimization, kind))

    def _in_blocks(self, usual: Optimization, kind: HeadKind) -> Optimization:
        if self.blocks is None or not isinstance(KINDS[kind], LanguageModel):
            return usual
        return replace(usual, batch_size=min(self.blocks, usual.batch_size), accumulate=1)

    def full_steps(self, own: int, share: float, beside: bool = False) -> int:
        """Optimizer steps of a full distillation within `share` of the teacher's time, of the recipe's `own` at most.

        A small student has more to learn anew, and learns faster: each budget takes about as long. `beside` it a
        teacher answers anew in every step, whose time is its as well.
        """
        work = max(share, LEAST_SHARE) + (ANSWERING if beside else 0.0)
        return own if self.final_work is None else min(own, round(self.final_work / work))


LEAST_SHARE = 1 / 7
"""Of the teacher's time: a step of a smaller student is not much faster, since gradients of the words cost as much."""

ANSWERING = 1 / 3
"""Of a step of the teacher's own: what answering alone takes."""


def shortened(episodes: int) -> float:
    """The exploration step that falls over `episodes` as far as 0.05 does over the 15 of docs/methods.md."""
    return 0.05 * 14 / max(1, episodes - 1)


EFFORTS: Registry[Effort] = Registry("effort")
for _effort in (
    Effort(
        "quick",
        episodes=4,
        candidates=6,
        steps=30,
        subset=0.3,
        finalists=3,
        distilled=1,
        supernet_steps=250,
        replaced=4,
        final_work=300,
        blocks=8,
        moved_words=False,
        exploration_step=shortened(4),
    ),
    Effort(
        "standard",
        episodes=8,
        candidates=10,
        steps=160,
        rate=3.0,
        subset=0.3,
        finalists=6,
        distilled=2,
        supernet_steps=2000,
        replaced=8,
        blocks=8,
        exploration_step=shortened(8),
    ),
    # docs/methods.md, second-hand there: 15 x 20 candidates, a 30 % subset, 4-5 epochs, the top 3 distilled.
    Effort(
        "paper", episodes=15, candidates=20, epochs=4.0, subset=0.3, finalists=10, distilled=3, supernet_steps=10_000
    ),
):
    EFFORTS.register(_effort.name)(_effort)
