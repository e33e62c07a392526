"""Schedules, methods and rewards: data that a verdict names must be true and resolvable."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from distill.examples import Task
from distill.mini import MiniScore
from distill.recipe import Recipe
from distill.recipe_file import RECIPES
from distill.teachers import Teacher
from nas.methods import BY_DIVERGENCE, METHODS, MINI_DISTILLATIONS
from nas.proxies import PROXIES, Tryout
from nas.reward import Reward, normalise, rank_correlation
from nas.schedule import EFFORTS, shortened
from students.spec import StudentSpec, TransformerLayer


@pytest.mark.parametrize("name", EFFORTS.names())
class TestEffortContract:
    def test_numbers_make_sense(self, name: str) -> None:
        effort = EFFORTS[name]
        assert effort.name == name
        assert effort.episodes * effort.candidates >= 24
        assert 0 < effort.subset <= 1
        assert 1 <= effort.distilled <= effort.finalists <= effort.candidates
        assert effort.mini_steps(7000, 32) >= 1

    def test_exploration_falls_as_far_as_the_published_one(self, name: str) -> None:
        effort = EFFORTS[name]
        assert 1 - effort.exploration_step * (effort.episodes - 1) == pytest.approx(0.3)


def test_paper_is_the_schedule_of_methods() -> None:
    paper = EFFORTS["paper"]
    assert (paper.episodes, paper.candidates, paper.subset, paper.distilled) == (15, 20, 0.3, 3)
    assert paper.mini_steps(10_000, 32) == 4 * math.ceil(3000 / 32)
    assert paper.exploration_step == shortened(15) == pytest.approx(0.05) and paper.rate == 1.0


@pytest.mark.parametrize("proxy", MINI_DISTILLATIONS)
def test_a_brief_training_is_the_recipes_but_for_its_rate(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    taught: list[Recipe] = []

    def briefly(spec: StudentSpec, teacher: Teacher, task: Task, recipe: Recipe, **asked: Any) -> MiniScore:
        taught.append(recipe)
        return MiniScore(0.5, 0.4, 0.8, asked["steps"], 1.0)

    monkeypatch.setattr("nas.proxies.mini_distil", briefly)
    recipe, asked = RECIPES["default"], EFFORTS["standard"]
    tryout = Tryout(None, None, recipe, asked.steps or 0, asked.subset, 0, rate=asked.rate)  # type: ignore[arg-type]
    found = PROXIES[proxy](StudentSpec(8, 8, (TransformerLayer(2, 8, 16),)), tryout)
    assert taught[0].optimization.learning_rate == 3.0 * recipe.optimization.learning_rate
    assert replace(taught[0], optimization=recipe.optimization) == recipe
    assert found.loss == normalise(0.4 if proxy == BY_DIVERGENCE else 0.5)


def test_a_quick_search_fits_its_teacher_in_half_the_time() -> None:
    quick, standard = (EFFORTS[name].fitting("classification") for name in ("quick", "standard"))
    assert standard.work == 2 * quick.work and quick.steps(7000, 2) == standard.steps(7000, 2)


def test_smaller_students_learn_for_longer_and_none_for_longer_than_the_recipe() -> None:
    quick = EFFORTS["quick"]
    assert [quick.full_steps(9999, share) for share in (1.0, 0.5, 0.25)] == [300, 600, 1200]
    assert quick.full_steps(9999, 0.1) == quick.full_steps(9999, 0.01) == 2100
    assert quick.full_steps(1095, 0.1) == 1095 and quick.full_steps(50, 1.0) == 50
    assert EFFORTS["paper"].full_steps(1095, 0.1) == 1095


def test_a_teacher_that_answers_in_every_step_takes_time_from_its_students() -> None:
    quick = EFFORTS["quick"]
    assert [quick.full_steps(9999, share, beside=True) for share in (1.0, 1 / 7, 0.01)] == [225, 630, 630]
    assert EFFORTS["paper"].full_steps(1095, 0.1, beside=True) == 1095


def test_language_models_learn_from_few_blocks_in_a_step() -> None:
    recipe = RECIPES["default"]
    for name in ("quick", "standard"):
        effort = EFFORTS[name]
        mine = effort.recipe(recipe, "masked-lm")
        assert mine.optimization.examples_per_step == effort.fitting("masked-lm").examples_per_step == effort.blocks
        assert replace(mine, optimization=recipe.optimization) == recipe
        assert effort.recipe(recipe, "classification") == recipe
        assert effort.fitting("classification").batch_size == 32
    few = replace(recipe, optimization=replace(recipe.optimization, batch_size=4))
    assert EFFORTS["quick"].recipe(few, "masked-lm") == few
    assert EFFORTS["paper"].recipe(recipe, "masked-lm") == recipe


@pytest.mark.parametrize("name", METHODS.names())
class TestMethodContract:
    def test_every_part_is_registered(self, name: str) -> None:
        from distill.recipe_file import RECIPES
        from nas.controllers import CONTROLLERS
        from nas.preparations import PREPARATIONS
        from nas.proxies import PROXIES
        from nas.rules import RULES

        method = METHODS[name]
        assert method.name == name and method.rule in RULES and method.preparation in PREPARATIONS
        assert method.controller in CONTROLLERS and method.proxy in PROXIES and method.recipe in RECIPES


def test_reward_ignores_latency_unless_asked() -> None:
    assert Reward()(0.25, 5.0, 30.0) == Reward()(0.25, 15.0, 30.0) == 0.75
    paper = Reward(alpha=-0.06)
    assert paper(0.25, 18.0, 30.0) == pytest.approx(0.75)
    assert paper(0.25, 9.0, 30.0) == pytest.approx(0.75 * 0.5**-0.06)
    assert paper(float("nan"), 9.0, 30.0) == 0.0


def test_normalised_losses_keep_their_order_in_the_unit_interval() -> None:
    losses = [0.0, 1e-3, 0.3, 2.0, 30.0]
    normal = [normalise(loss) for loss in losses]
    assert normal == sorted(normal) and normal[0] == 0.0 and normal[-1] <= 1.0
    assert normalise(float("inf")) == normalise(float("nan")) == 1.0


def test_rank_correlation() -> None:
    observed = np.array([1.0, 2.0, 3.0])
    assert rank_correlation(observed**3, observed) == pytest.approx(1.0)
    assert rank_correlation(-observed, observed) == pytest.approx(-1.0)
    assert rank_correlation(np.ones(3), observed) is None
