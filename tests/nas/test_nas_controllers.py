"""The contract of controllers, over every registered one, and what KD-NAS's promises beyond it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from nas_synthetic import problem, quality, scorer_of

from nas.controllers import CONTROLLERS, Controller
from nas.controllers.lstm import RewardPredictor
from nas.controllers.nsga2 import crowding, ranks
from nas.controllers.pool import Codes, draw_pool
from students.space import SearchSpace


def play(controller: Controller, episodes: int, n: int) -> list[np.ndarray]:
    """Run episodes against the synthetic reward; the codes of each."""
    asked = []
    for _ in range(episodes):
        codes = controller.ask(n)
        controller.tell(codes, quality(controller.problem.space, codes))
        asked.append(codes)
    return asked


@pytest.mark.parametrize("name", CONTROLLERS.names())
class TestControllerContract:
    def test_same_seed_and_rewards_give_same_candidates(self, name: str) -> None:
        first, second, other = (play(CONTROLLERS[name](problem(), seed), 3, 5) for seed in (3, 3, 4))
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
        assert not np.array_equal(first[0], other[0])

    def test_candidates_are_members_inside_the_window(self, name: str) -> None:
        case = problem()
        controller = CONTROLLERS[name](case, 0)
        codes = np.concatenate(play(controller, 3, 8))
        upper = case.scorer(codes)[1]
        assert codes.dtype == np.int64
        assert case.space.valid(codes).all()
        assert controller.problem.window == (0.5 if name == "nsga2" else 0.9)
        assert ((upper >= controller.problem.window * case.budget_ms) & (upper <= case.budget_ms)).all()

    def test_no_candidate_comes_twice(self, name: str) -> None:
        codes = np.concatenate(play(CONTROLLERS[name](problem(pool_size=300), 1), 6, 10))
        assert len(np.unique(codes, axis=0)) == len(codes) == 60

    def test_restored_state_continues_identically(self, name: str) -> None:
        whole = CONTROLLERS[name](problem(), 7)
        play(whole, 2, 5)
        stored = json.loads(json.dumps(whole.state()))
        resumed = CONTROLLERS[name](problem(), 7)
        play(resumed, 1, 4)
        resumed.restore(stored)
        for one, two in zip(play(whole, 2, 5), play(resumed, 2, 5), strict=True):
            assert np.array_equal(one, two)
        assert whole.report() == resumed.report()

    def test_budget_that_everything_meets_relaxes_the_window(self, name: str) -> None:
        case = problem(budget_ms=1e4)
        assert len(CONTROLLERS[name](case, 0).ask(6)) == 6

    def test_tight_budget_is_met_by_mutants(self, name: str) -> None:
        case = problem()
        least = float(case.scorer(case.space.enumerate_extremes())[1].min())
        tight = problem(budget_ms=least * 1.15, pool_size=50)
        codes = CONTROLLERS[name](tight, 0).ask(6)
        assert len(codes) == 6
        assert (tight.scorer(codes)[1] <= tight.budget_ms).all()

    def test_budget_that_nothing_surely_meets_gives_the_fastest(self, name: str) -> None:
        case = problem(budget_ms=0.01, pool_size=200)
        codes = CONTROLLERS[name](case, 0).ask(3)
        assert len(codes) == 3
        assert case.scorer(codes)[1].max() <= np.sort(case.scorer(case.space.enumerate_extremes())[1])[2]

    def test_rewards_must_be_finite_and_as_many(self, name: str) -> None:
        controller = CONTROLLERS[name](problem(), 0)
        codes = controller.ask(2)
        with pytest.raises(ValueError):
            controller.tell(codes, [1.0])
        with pytest.raises(ValueError):
            controller.tell(codes, [1.0, float("nan")])

    def test_report_names_each_episodes_best(self, name: str) -> None:
        controller = CONTROLLERS[name](problem(), 0)
        rewards = [quality(controller.problem.space, codes).max() for codes in play(controller, 2, 4)]
        assert [row["best_reward"] for row in controller.report()] == pytest.approx(rewards)


def test_a_small_space_runs_dry_without_repeating() -> None:
    case = problem(budget_ms=1e6, name="kd-nas", pool_size=3000)
    rng = np.random.default_rng(0)
    all_but_two = np.unique(case.space.sample(30_000, rng), axis=0)
    pool = draw_pool(case, 2, all_but_two[:-2].tolist(), rng)
    assert not {tuple(code) for code in pool.codes.tolist()} & {tuple(code) for code in all_but_two[:-2].tolist()}


@pytest.mark.parametrize("name", ["kd-nas", "ridge", "evolution", "local"])
def test_it_beats_random_after_learning(name: str) -> None:
    def late(name: str, seed: int) -> float:
        controller = CONTROLLERS[name](problem(exploration_step=0.14), seed)
        return float(
            np.mean([quality(controller.problem.space, codes).mean() for codes in play(controller, 6, 8)[-2:]])
        )

    gains = [late(name, seed) - late("random", seed) for seed in range(2)]
    assert min(gains) > 0.02, gains


def test_half_of_a_generation_are_children_of_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    controller = CONTROLLERS["evolution"](problem(), 0)
    parents, children, step = [], [], SearchSpace.step

    def watched(space: SearchSpace, codes: Codes, rng: np.random.Generator) -> Codes:
        parents.extend(map(tuple, codes))
        children.extend(map(tuple, made := step(space, codes, rng)))
        return made

    monkeypatch.setattr(SearchSpace, "step", watched)
    first = controller.ask(40)
    assert not parents, "the first generation is random"
    controller.tell(first, np.arange(40.0))
    second = list(map(tuple, controller.ask(40)))
    assert set(parents) <= set(map(tuple, first[-25:])) and len(set(parents)) > 20, "the best 25"
    assert parents.count(tuple(first[-1])) > 3 * parents.count(tuple(first[-20])), "by their reward"
    assert set(second[:20]) <= set(children)
    assert len(set(second[20:]) - set(children)) > 15


def test_fronts_are_those_that_none_beats() -> None:
    rng = np.random.default_rng(0)
    objectives = rng.random((40, 3)).round(1)
    found = ranks(objectives)

    def beats(one: np.ndarray, other: np.ndarray) -> bool:
        return bool((one <= other).all() and (one < other).any())

    for n, mine in enumerate(objectives):
        above = [int(found[m]) for m, other in enumerate(objectives) if beats(other, mine)]
        assert found[n] == max(above, default=-1) + 1
    line = np.array([[0.0, 1.0], [0.1, 0.5], [0.5, 0.1], [1.0, 0.0], [2.0, 2.0]])
    assert ranks(line).tolist() == [0, 0, 0, 0, 1]
    assert crowding(line, ranks(line)).tolist() == [np.inf, 0.5 + 0.9, 0.9 + 0.5, np.inf, np.inf]


def test_nsga_pushes_the_whole_front() -> None:
    """At half the budget as at all of it, its last generations are better than random ones of the same latency."""
    case = problem()
    controller = CONTROLLERS["nsga2"](case, 0)
    found = np.concatenate(play(controller, 8, 12)[-3:])
    others = np.concatenate(play(CONTROLLERS["random"](replace(case, window=0.5), 0), 8, 12))
    for low, high in ((3.0, 4.5), (4.5, 6.0)):
        ours, theirs = (
            quality(case.space, codes[(ms > low) & (ms <= high)])
            for codes, ms in ((codes, case.scorer(codes)[1]) for codes in (found, others))
        )
        assert len(ours) >= 5 and ours.mean() > theirs.mean() + 0.05
    assert controller.report()[-1]["front"] > controller.report()[0]["front"]


def test_weights_are_an_objective_where_they_are_known() -> None:
    known = replace(problem(), parameters=lambda codes: codes[:, 1].astype(float))
    (one, two) = (play(CONTROLLERS["nsga2"](case, 0), 4, 12)[-1] for case in (problem(), known))
    assert not np.array_equal(one, two) and two[:, 1].mean() < one[:, 1].mean()


def test_local_search_stays_near_the_best() -> None:
    controller = CONTROLLERS["local"](problem(), 0)
    first = controller.ask(10)
    rewards = np.arange(10.0)
    controller.tell(first, rewards)
    near, far = ((codes != first[-1]).sum(axis=1) for codes in (controller.ask(10), first[:-1]))
    assert near.max() <= 4 < np.median(far)


def test_kd_nas_reports_exploration_and_both_correlations() -> None:
    controller = CONTROLLERS["kd-nas"](problem(exploration_step=0.5), 0)
    play(controller, 4, 8)
    first, *later = controller.report()
    assert [row["exploration"] for row in controller.report()] == [1.0, 0.5, 0.05, 0.05]
    assert first["lstm_rho"] is None and first["ridge_rho"] is None
    assert all(-1 <= row[rho] <= 1 for row in later for rho in ("lstm_rho", "ridge_rho"))  # type: ignore[operator]


def test_reward_predictor_tells_genes_steps_and_nothing_yet_apart() -> None:
    predictor = RewardPredictor((3, 4), seed=0)
    base = np.array([[[-1, -1], [-1, -1], [0, 0]]])
    variants = [base.copy() for _ in range(4)]
    variants[0][0, 0] = [0, 0]
    variants[1][0, 2] = [1, 0]
    variants[2][0, 2] = [0, 3]
    variants[3][0, 1] = [2, 3]
    scores = [predictor.predict(codes)[0] for codes in [base, *variants]]
    assert len({round(float(score), 7) for score in scores}) == 5


def test_scorer_of_the_tests_is_monotone() -> None:
    members = problem().space
    code = members.sample(1, np.random.default_rng(5))
    latency = scorer_of(members)(code)[0]
    assert (scorer_of(members)(members.trim(code[0]))[0] <= latency).all()
