"""A linear model over shapes: what it is told of them, and what one budget teaches it of another."""

import numpy as np
import pytest
from nas_synthetic import MEMBERS, problem, quality
from scipy.stats import spearmanr

from nas.controllers.pool import draw_pool
from nas.controllers.ridge import EXPLORATION_FLOOR, RidgeController
from nas.controllers.shape_features import shape_features, spec_features
from students.space import SPACES, space
from students.spec import FeedForwardLayer, StudentSpec, TransformerLayer


@pytest.mark.parametrize("name", [name for name in SPACES.names() if name != "mixed"])
def test_features_are_those_of_the_specs(name: str) -> None:
    members = space(name)
    codes = members.sample(30, np.random.default_rng(0))
    specs = members.decode(codes, **MEMBERS)  # type: ignore[arg-type]
    gelu = [[float(spec.layers[0].activation == one) for one in members.choices.activation] for spec in specs]
    wanted = np.concatenate([[spec_features(spec) for spec in specs], gelu], axis=1)
    found = shape_features(members, codes)
    assert found[:, : wanted.shape[1]] == pytest.approx(wanted)
    rest = [(np.log(spec.embedding_width), len(set(spec.owners)) / len(spec.layers)) for spec in specs]
    if not members.typed:
        assert found[:, wanted.shape[1] :] == pytest.approx(np.array(rest) if name == "compact" else np.zeros((30, 0)))


def test_a_shape_in_numbers() -> None:
    spec = StudentSpec(64, 64, (TransformerLayer(2, 32, 99), FeedForwardLayer(9), TransformerLayer(4, 16, 31)))
    found = np.array(spec_features(spec))
    assert found[:4] == pytest.approx([3, 1 / 3, np.log(64), 2])
    assert np.exp(found[4:]) - 1 == pytest.approx([139, 9, 99, 31, 48, 16, 32, 16])


def test_types_are_told_apart() -> None:
    members = space("mixed")
    codes = members.sample(50, np.random.default_rng(0))
    features = shape_features(members, codes)
    specs = members.decode(codes, **MEMBERS)  # type: ignore[arg-type]
    names = [form.layer(64, 2, 64, 128, "gelu").type for form in members.choices.types]
    shares = [[sum(layer.type == name for layer in spec.layers) / len(spec.layers) for name in names] for spec in specs]
    # Several forms may be of one type.
    for place, name in enumerate(names):
        alike = [n for n, other in enumerate(names) if other == name]
        found = features[:, -len(names) :][:, alike].sum(axis=1)
        assert found == pytest.approx(np.array(shares)[:, place])
    attending = [any(hasattr(layer, "heads") for layer in spec.layers) for spec in specs]
    assert ((features[:, 8] > 0) == attending).all()


def foretold(controller: RidgeController) -> float:
    """Rank correlation of what it says of members of its budget and what they are worth."""
    case = controller.problem
    codes = draw_pool(case, 200, [], np.random.default_rng(9)).codes
    return float(spearmanr(controller._foretold(codes), quality(case.space, codes)).statistic)


def test_another_budget_teaches_which_shapes_are_better() -> None:
    large, small = problem(budget_ms=8.0), problem(budget_ms=4.0)
    codes = draw_pool(large, 200, [], np.random.default_rng(1)).codes[:24]
    controller = RidgeController(small, 0)
    assert controller.exploration() == 1.0
    # Worth far more as they are, which says nothing of members of another budget.
    controller.learn(codes, 10 + quality(large.space, codes))
    assert foretold(controller) > 0.5 and controller.exploration() == EXPLORATION_FLOOR
    first = controller.ask(8)
    assert (small.scorer(first)[1] <= 4.0).all()
    controller.tell(first, quality(small.space, first))
    assert controller.report()[0]["ridge_rho"] is not None, "it foretold the very first episode"
    assert foretold(controller) > 0.7


def test_rewards_that_are_all_equal_say_nothing() -> None:
    controller = RidgeController(problem(), 0)
    for _ in range(2):
        codes = controller.ask(4)
        controller.tell(codes, [0.5] * 4)
    assert len(controller.ask(4)) == 4 and controller.report()[1]["ridge_rho"] is None
