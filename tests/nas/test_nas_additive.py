"""Sums over parts: tables, the program's optimum beside brute force, and whole searches by it."""

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from nas_synthetic import additive_of, problem
from tiny_kinds import write
from tiny_search import QUIET, SPACE, TRAINING, tiny_search

from distill.recipe_file import RECIPES
from distill.tasks import load_task
from distill.teachers import prepare_teacher
from nas.additive import (
    USED,
    Additive,
    LossTable,
    additive_from_json,
    largest,
    loss_table,
    parts_to_try,
    replaced,
    require_additive,
    skeletons,
    within_reach,
)
from nas.controllers.integer_programming import IntegerProgrammingController
from nas.proxies import PROXIES, Tryout
from nas.search import search
from runs.errors import UserError
from students.space import SearchSpace, space
from students.space_file import Choices, QkvRule
from students.spec import FeedForwardLayer

SMALL = SearchSpace(
    "small",
    Choices((1, 2, 3), (128,), ("gelu",), (1, 2, 4), (QkvRule(per_head=32),), (64, 128, 256, 512), alike=False),
)


def everyone(members: SearchSpace) -> np.ndarray:
    """Every member of a small space."""
    codes = np.array(list(product(*map(range, members.cardinalities))), dtype=np.int64)
    return codes[members.valid(codes)]


@pytest.mark.parametrize("name", ["pruning", "hybrid", "kd-nas", "autotinybert-kd"])
def test_a_part_is_all_that_a_replaced_member_differs_in(name: str) -> None:
    members = space(name)
    found = skeletons(members)
    drawn = members.sample(500, np.random.default_rng(0))
    assert {tuple(code) for code in drawn[:, : len(members.common_genes)].tolist()} <= set(found)
    for skeleton in found[:: max(1, len(found) // 5)]:
        whole = largest(members, skeleton)
        parts = parts_to_try(members, skeleton, 4)
        assert len(set(parts)) == len(parts) > 0
        codes = np.array([whole, *(replaced(members, skeleton, part) for part in parts)])
        assert members.valid(codes).all() and len(np.unique(codes, axis=0)) == len(codes)
        layers = members.layer_view(codes)
        for (slot, what, width), mine in zip(parts, layers[1:], strict=True):
            others = np.delete(mine, slot, axis=0)
            assert (others == np.delete(layers[0], slot, axis=0)).all()
            assert (mine[slot, 2] == layers[0, slot, 2]) == (what == "attention")
            if what == "feed-forward":
                assert members.choices.ffn[mine[slot, 2]] == width


@pytest.mark.parametrize("budget_ms", [0.7, 1.5, 6.0, 1e4])
def test_only_what_may_use_up_the_budget_is_taken_apart(budget_ms: float) -> None:
    case = problem(budget_ms)
    found = within_reach(case.space, case.scorer, budget_ms)
    codes = case.space.sample(20_000, np.random.default_rng(0))
    milliseconds = case.scorer(codes)[0]
    fitting = codes[(milliseconds <= budget_ms) & (milliseconds >= USED * budget_ms)]
    assert {tuple(code) for code in fitting[:, : len(case.space.common_genes)].tolist()} <= set(found)
    assert len(found) < len(skeletons(case.space)) and (len(found) > 0) == (budget_ms < 1e4)


def test_losses_between_those_tried_are_on_a_line_and_never_below_the_whole() -> None:
    skeleton = skeletons(SMALL)[-1]
    losses = {(0, "attention", 32): 0.5, (0, "feed-forward", 64): 0.4, (0, "feed-forward", 256): 0.05}
    losses |= {(2, "feed-forward", 64): 0.3}
    table = loss_table(SMALL, skeleton, 0.1, losses)
    assert table.attention[0, :, 0] == pytest.approx([0.4, 0.4 * 64 / 96, 0.0])
    assert table.feed_forward[0] == pytest.approx([0.3, 0.2, 0.0, 0.0]), "a loss below the whole's is noise"
    assert not table.attention[1].any() and table.feed_forward[2][0] == pytest.approx(0.2)


@pytest.mark.parametrize("name", ["small", "hybrid"])
def test_what_parts_lose_adds_up(name: str) -> None:
    members = SMALL if name == "small" else space(name)
    found = additive_of(members, some=8)
    stored = additive_from_json(members, json.loads(json.dumps(found.to_json())))
    codes = members.sample(300, np.random.default_rng(1))
    sums = found(codes)
    assert np.array_equal(sums, stored(codes))
    for code, total in zip(codes, sums, strict=True):
        table = found.tables.get(tuple(code[: len(members.common_genes)].tolist()))
        if table is None:
            assert total == np.inf
            continue
        layers = members.layer_view(code[None])[0][: len(table.feed_forward)]
        parts = [
            table.attention[n, heads, qkv] + table.feed_forward[n, ffn] for n, (heads, qkv, ffn) in enumerate(layers)
        ]
        assert total == pytest.approx(table.whole + sum(parts))


@pytest.mark.parametrize("share", [0.35, 0.5, 0.7, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_optimum_is_brute_forces(share: float, seed: int) -> None:
    case = problem(members=SMALL)
    rng = np.random.default_rng(seed)
    tables = {}
    for skeleton in skeletons(SMALL):
        slots = SMALL.choices.layers[skeleton[0]]
        attention = np.sort(rng.gamma(1.0, 0.1, (slots, 3, 1)), axis=1)[:, ::-1]
        feed_forward = np.sort(rng.gamma(1.0, 0.1, (slots, 4)), axis=1)[:, ::-1]
        whole = 1.0 / slots
        tables[skeleton] = LossTable(whole, attention - attention[:, -1:], feed_forward - feed_forward[:, -1:])
    additive, codes = Additive(SMALL, tables), everyone(SMALL)
    upper = case.scorer(codes)[1]
    case = replace(case, budget_ms=share * float(upper.max()), additive=additive)
    within = codes[(upper <= case.budget_ms) & (upper >= case.window * case.budget_ms)]
    best = np.sort(additive(within))
    asked = IntegerProgrammingController(case, 0).ask(5)
    found = additive(asked)
    assert found[0] <= 1.01 * best[0], "within 1 % of the best of all"
    assert (np.diff(found) >= -1e-9).all() and len(np.unique(asked, axis=0)) == len(asked)
    assert (case.scorer(asked)[1] <= case.budget_ms).all()


def test_a_space_that_nothing_adds_up_in_is_refused() -> None:
    for name in ("mixed", "compact"):
        with pytest.raises(UserError, match="choose --space pruning"):
            require_additive(space(name))
    with pytest.raises(ValueError, match="additive"):
        IntegerProgrammingController(replace(problem(), additive=None), 0)


def test_what_a_search_adds_up_is_what_the_proxy_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(
        tiny_search(tmp_path, monkeypatch, SPACE),
        data=str(write("classification", tmp_path)),
        method="integer-programming",
    )
    search(settings, QUIET)
    prepared = json.loads((tmp_path / "run/run.json").read_text())["stages"]["preparation"]["result"]
    members = space(settings.space_name)
    additive = additive_from_json(members, prepared["tables"])
    assert set(additive.tables) <= set(skeletons(members))
    task = load_task(settings.data, QUIET, None)
    teacher = prepare_teacher(settings.teacher, task, QUIET, training=TRAINING)
    tryout = Tryout(teacher, task, RECIPES["default"], 1, 1.0, settings.seed)
    of = teacher.model().config.spec_object
    around = {"maximum_positions": of.maximum_positions, "token_types": of.token_types, "head": of.head}
    drawn = members.sample(200, np.random.default_rng(0))
    codes = drawn[np.isfinite(additive(drawn))][:6]
    assert len(codes) == 6
    for spec, sums in zip(
        members.decode(codes, vocabulary_size=of.vocabulary_size, **around), additive(codes), strict=True
    ):
        assert PROXIES["replaced-parts"](spec, tryout).details["kl"] == pytest.approx(float(sums), abs=1e-4)
    with pytest.raises(UserError, match="transformer layers alone"):
        PROXIES["replaced-parts"](replace(spec, layers=(FeedForwardLayer(48),)), tryout)
