"""Calibration sees exactly what layers multiply, whatever the padding, and its rules give usable ranges."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from export.arithmetic import ARITHMETICS
from export.calibration import RULES, calibrate
from export.form import Form
from export.graph import student_graph
from export.part import DIALECTS
from export.verify import random_batches, run_graph
from export.weights import module_weights, random_module
from runs.errors import UserError
from students.spec import Head, StudentSpec, TransformerLayer, uniform_spec

SPEC = StudentSpec(12, 24, (TransformerLayer(2, 16, 40), TransformerLayer(3, 24, 8, "relu")), 60, 64, head=Head())


def test_min_and_max_are_those_of_the_modules_own_inputs() -> None:
    model = random_module(SPEC, 3)
    batches = random_batches(SPEC, 3)
    found = calibrate(SPEC, module_weights(model), batches, "min-max")
    seen: dict[str, list[float]] = {}
    masks: list[torch.Tensor] = []

    def watch(name: str) -> Callable[[torch.nn.Module, tuple[torch.Tensor, ...]], None]:
        def hook(module: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
            values = given[0][masks[-1]] if given[0].ndim == 3 else given[0]
            low, high = seen.get(name, [np.inf, -np.inf])
            seen[name] = [min(low, values.min().item()), max(high, values.max().item())]

        return hook

    # The last layer's attention and feed-forward run for the first token alone in the graph, so they are left out here.
    linear = {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    compared = {name: module for name, module in linear.items() if "layers.0." in name}
    for name, module in compared.items():
        module.register_forward_pre_hook(watch(name))
    with torch.inference_mode():
        for batch in batches:
            masks.append(torch.from_numpy(batch["attention_mask"]).bool())
            model(**{name: torch.from_numpy(value) for name, value in batch.items()})
    assert len(compared) == 6
    for name, (low, high) in seen.items():
        given = found[name.removeprefix("student.")]
        if "output" in name:
            # The graph adds the bias of values after the product, which moves its source by a constant per channel.
            continue
        assert given.divisors is None
        np.testing.assert_allclose((given.low, given.high), (low, high), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", RULES.names())
class TestEveryRule:
    def test_padding_changes_no_range(self, rule: str) -> None:
        weights = module_weights(random_module(SPEC))
        ids = np.arange(10)[None, :]
        alone = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        padded = {name: np.pad(value, ((0, 1), (0, 7))) for name, value in alone.items()}
        padded["input_ids"][:, 10:] = 55
        padded["token_type_ids"][1] = 1
        one, other = (calibrate(SPEC, weights, [batch], rule) for batch in (alone, padded))
        assert one.keys() == other.keys()
        for name in one:
            given, wanted = ((reach.low, reach.high) for reach in (one[name], other[name]))
            np.testing.assert_allclose(given, wanted, rtol=0.01, atol=1e-3)

    def test_static_answers_are_near_in_any_dialect(self, rule: str) -> None:
        weights = module_weights(random_module(SPEC))
        batches = random_batches(SPEC)
        ranges = calibrate(SPEC, weights, batches, rule)
        exact = np.concatenate(list(run_graph(student_graph(SPEC, weights).SerializeToString(), batches)))
        for dialect in DIALECTS:
            graph = student_graph(SPEC, weights, Form(dialect, "int8-static"), ranges=ranges)
            answers = np.concatenate(list(run_graph(graph.SerializeToString(), batches)))
            assert np.sqrt(np.square(answers - exact).mean()) <= 0.1 * exact.std()

    def test_a_lone_number_far_away_is_inside_only_where_nothing_is_cut(self, rule: str) -> None:
        edges = np.linspace(-1.0, 100.0, 4097)
        counts = np.zeros(4096, dtype=np.int64)
        counts[:80] = 100_000
        counts[-1] = 1
        low, high = RULES[rule](counts, edges)
        assert low <= edges[1] and high >= edges[80]
        assert (high < 50) == (rule != "min-max")

    def test_a_constant_source_has_a_range(self, rule: str) -> None:
        counts = np.zeros(4096, dtype=np.int64)
        counts[0] = 7
        low, high = RULES[rule](counts, np.linspace(2.0, 3.0, 4097))
        assert low == 2.0 and low < high <= 3.0


def test_masked_language_models_and_caches_are_calibrated_as_well() -> None:
    for kind in ("masked-lm", "causal-lm"):
        spec = StudentSpec(24, 24, SPEC.layers, 60, 64, head=Head(kind, 1))
        weights = module_weights(random_module(spec))
        ranges = calibrate(spec, weights, random_batches(spec))
        assert {"head.transform", "head.decoder"} <= ranges.keys()
        student_graph(spec, weights, Form(precision="int8-static"), ranges=ranges)


def test_bad_input_is_said_in_a_sentence() -> None:
    weights = module_weights(random_module(SPEC))
    with pytest.raises(UserError, match="no texts to calibrate on"):
        calibrate(SPEC, weights, [])
    silent = {name: np.zeros((1, 4), dtype=np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}
    with pytest.raises(UserError, match="no texts to calibrate on"):
        calibrate(SPEC, weights, [silent])
    with pytest.raises(UserError, match="unknown calibration rule 'widest'"):
        calibrate(SPEC, weights, random_batches(SPEC), "widest")
    broken = {**weights, "layers.1.query.weight": weights["layers.1.query.weight"] * np.float32(np.nan)}
    with pytest.raises(UserError, match=r"not finite: check the checkpoint"):
        calibrate(SPEC, broken, random_batches(SPEC))


def test_only_static_precisions_ask_for_ranges() -> None:
    assert [name for name in ARITHMETICS if ARITHMETICS[name].calibrated] == ["int8-static"]


def test_a_head_as_wide_as_texts_are_long_is_not_taken_for_tokens() -> None:
    spec = uniform_spec(1, 16, 2, 8, vocabulary_size=20, maximum_positions=16, head=Head("classification", 2))
    mask = np.ones((3, 16), dtype=np.int64)
    mask[1:, 5:] = 0
    batch = {"input_ids": mask * 7, "attention_mask": mask, "token_type_ids": mask * 0}
    assert calibrate(spec, module_weights(random_module(spec)), [batch])
