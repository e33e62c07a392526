"""Contract of every objective: padding never leaks into it, it is least where student and teacher agree, it teaches."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from distill.batches import Batch
from distill.features import Features, extract, feature_widths
from distill.kinds import KINDS
from distill.lesson import Lesson
from distill.numerics import bf16_helps
from distill.objectives import OBJECTIVES, AnswerObjective, Answers, LayerObjective, Match
from distill.objectives.answers import LEAST_TEMPERATURE, TEMPERATURES, shifted
from distill.objectives.contract import of_texts, seen_pairs
from distill.objectives.relations import relation_heads
from distill.recipe import Term
from runs.errors import UserError
from students.headed import UNLABELLED
from students.model import StudentPreTrainedModel, build_student
from students.spec import BottleneckLayer, Head, StudentSpec, uniform_spec

ALL = frozenset({"hidden_states", "attention_scores", "queries", "keys", "values", "attention_outputs"})
TOKEN_WISE = ("hidden_states", "queries", "keys", "values", "attention_outputs")
CLASSES = Head("classification", 3)
TEACHER = uniform_spec(4, 24, 4, 48, vocabulary_size=30, maximum_positions=20, head=CLASSES)
STUDENT = uniform_spec(2, 16, 2, 32, vocabulary_size=30, maximum_positions=20, head=CLASSES)
ODD = uniform_spec(2, 15, 5, 32, vocabulary_size=30, maximum_positions=20, head=CLASSES)
"""Its heads divide nothing of the teacher's."""

MIXED = bf16_helps(torch.device("cpu"))
"""Whether a lesson's matrix products are rounded to eight bits, and batches of another shape otherwise."""

CROSS_ENTROPIES = ("labels", "logits-ce", "attention-ce", "attention-mean-ce")
"""Least, but not 0, where student and teacher agree."""


def make_batch(padding: int = 0, filler: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 30, (4, 7), generator=generator)
    mask = torch.ones_like(ids)
    ids[1, 5:], mask[1, 5:] = filler, 0
    ids = torch.nn.functional.pad(ids, (0, padding), value=filler)
    mask = torch.nn.functional.pad(mask, (0, padding))
    labels = torch.tensor([0, 2, 1, 1])
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids), "labels": labels}


def of_kind(batch: Batch, kind: str) -> Batch:
    """The batch with labels as a kind of task has them."""
    ids, mask = batch["input_ids"], batch["attention_mask"].bool()
    tokens = torch.where(mask & (ids % 2 == 0), ids if kind == "masked-lm" else ids % 3, UNLABELLED)
    labels = {
        "classification": batch["labels"],
        "regression": batch["labels"].float(),
        "spans": torch.stack((batch["labels"], batch["labels"] + 1), dim=-1),
        "causal-lm": ids,
    }
    return {**batch, "labels": labels.get(kind, tokens)}


def sharp(spec: StudentSpec, seed: int) -> StudentPreTrainedModel:
    """Random weights large enough that answers differ from example to example."""
    model = build_student(spec, seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter *= 8
    return model


def projection(wide: int, wanted: int) -> Tensor:
    if wide == wanted:
        return torch.eye(wide)
    return torch.randn(wide, wanted, generator=torch.Generator().manual_seed(1)) / math.sqrt(wide)


def loss_between(
    name: str, student: Features, teacher: Features, labels: Tensor, teacher_layers: tuple[int, ...] = (1,)
) -> Tensor:
    objective = OBJECTIVES[name]
    if isinstance(objective, AnswerObjective):
        return objective.loss(Answers(student.logits, teacher.logits, labels, 2.0))
    project = None
    if objective.projects is not None:
        ours, theirs = (getattr(side, objective.projects)[1].shape[-1] for side in (student, teacher))
        matrix = projection(ours, theirs * len(teacher_layers))

        def project(values: Tensor) -> Tensor:
            return values @ matrix

    return objective.loss(student, teacher, Match(1, teacher_layers, project))


@pytest.mark.parametrize("name", OBJECTIVES.names())
class TestObjective:
    def test_padding_does_not_leak(self, name: str) -> None:
        teacher, student = sharp(TEACHER, 0), sharp(STUDENT, 1)
        losses = []
        for batch in (make_batch(), make_batch(padding=6), make_batch(padding=6, filler=9)):
            losses.append(
                loss_between(name, extract(student, batch, ALL), extract(teacher, batch, ALL), batch["labels"]).item()
            )
        assert losses[0] > 1e-3
        assert losses[1:] == pytest.approx([losses[0]] * 2, rel=1e-4)

    @pytest.mark.parametrize("kind", KINDS.names())
    def test_padding_does_not_leak_whatever_the_task(self, name: str, kind: str) -> None:
        head = KINDS[kind].head_for(("a", "b", "c"))
        student, teacher = sharp(replace(STUDENT, head=head), 1), sharp(replace(TEACHER, head=head), 0)
        rules = TEMPERATURES.names() if isinstance(OBJECTIVES[name], AnswerObjective) else ["constant"]
        for rule in rules:
            term = Term(name, matching="uniform", temperature=2.0, temperature_rule=rule, temperature_strength=2.0)
            lesson, losses = Lesson(student, (term,), teacher, kind=kind), []
            for padding in (0, 6, 12):
                batch = {**of_kind(make_batch(padding, filler=9), kind), "share_done": torch.tensor(0.0)}
                losses.append(lesson(**batch)["loss"].item())
            assert losses[0] > 1e-4 and losses[1:] == pytest.approx([losses[0]] * 2, rel=2e-2 if MIXED else 1e-4)

    def test_garbage_features_at_padding_do_not_leak(self, name: str) -> None:
        teacher, student = sharp(TEACHER, 0), sharp(STUDENT, 1)
        batch = make_batch(padding=4)
        mask = batch["attention_mask"].bool()
        seen = extract(student, batch, ALL)

        def spoil(layers: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return tuple(torch.where(mask[..., None], layer, 7.0) for layer in layers)

        spoilt = replace(
            seen,
            **{part: spoil(getattr(seen, part)) for part in TOKEN_WISE},
            attention_scores=tuple(
                torch.where((mask[:, :, None] & mask[:, None, :])[:, None], scores, 7.0)
                for scores in seen.attention_scores
            ),
        )
        theirs = extract(teacher, batch, ALL)
        clean = loss_between(name, seen, theirs, batch["labels"])
        assert loss_between(name, spoilt, theirs, batch["labels"]).item() == pytest.approx(clean.item(), rel=1e-5)

    def test_a_student_equal_to_its_teacher_has_nothing_to_learn_from_it(self, name: str) -> None:
        features = extract(sharp(TEACHER, 0), make_batch(), ALL)
        labels = features.logits.argmax(-1)
        same = loss_between(name, features, features, labels)
        other = extract(sharp(TEACHER, 5), make_batch(), ALL)
        assert same.item() < loss_between(name, other, features, labels).item()
        if name not in CROSS_ENTROPIES:
            assert same.item() == pytest.approx(0, abs=1e-5)

    def test_tokens_and_texts_all_alike_have_gradients_that_are_numbers(self, name: str) -> None:
        batch = make_batch()
        seen, theirs = extract(sharp(STUDENT, 1), batch, ALL), extract(sharp(TEACHER, 0), batch, ALL)

        def alike(features: Features) -> Features:
            def flat(tensor: Tensor) -> Tensor:
                return torch.full_like(tensor, 0.5).requires_grad_()

            parts = {part: tuple(map(flat, getattr(features, part))) for part in (*TOKEN_WISE, "attention_scores")}
            return replace(features, logits=flat(features.logits), **parts)

        for teacher in (theirs, alike(theirs)):
            flat = alike(seen)
            loss = loss_between(name, flat, teacher, batch["labels"])
            loss.backward()
            leaves = (flat.logits, *(layer for part in ALL for layer in getattr(flat, part)))
            assert loss.isfinite() and all(leaf.grad is None or leaf.grad.isfinite().all() for leaf in leaves)

    @pytest.mark.parametrize("spec", [STUDENT, ODD])
    def test_descending_it_lowers_it(self, name: str, spec: StudentSpec) -> None:
        teacher, student = sharp(TEACHER, 0), build_student(spec, 1)
        batch = {**make_batch(), "share_done": torch.tensor(0.0)}
        batch["teacher_logits"] = teacher(**make_batch()).logits.detach()
        lesson = Lesson(student, (Term(name, matching="uniform"),), teacher)
        optimizer = torch.optim.Adam(lesson.parameters(), lr=3e-3)
        losses = []
        for _ in range(40):
            loss = lesson(**batch)["loss"]
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        assert losses[-1] < losses[0] - 0.2 * (losses[0] - self._floor(name, teacher, batch))
        assert all(parameter.grad is None for parameter in teacher.parameters())

    @staticmethod
    def _floor(name: str, teacher: StudentPreTrainedModel, batch: Batch) -> float:
        """What a student like its teacher would come to: of cross entropies the teacher's own entropy."""
        if name not in CROSS_ENTROPIES or name == "labels":
            return 0.0
        term = Term(name, matching="uniform")
        with torch.no_grad():
            return float(Lesson(teacher, (term,), teacher)(**batch)["loss"])

    def test_a_text_without_neighbours_gives_numbers(self, name: str) -> None:
        one = {key: value[:1] for key, value in make_batch().items()}
        student, teacher = extract(sharp(STUDENT, 1), one, ALL), extract(sharp(TEACHER, 0), one, ALL)
        loss = loss_between(name, student, teacher, one["labels"])
        loss.backward()
        assert torch.isfinite(loss)

    def test_several_teacher_layers_at_once(self, name: str) -> None:
        batch = make_batch()
        student, teacher = extract(sharp(STUDENT, 1), batch, ALL), extract(sharp(TEACHER, 0), batch, ALL)
        assert loss_between(name, student, teacher, batch["labels"], (1, 3)).item() > 0


@pytest.mark.parametrize(
    "name", [name for name in OBJECTIVES.names() if isinstance(OBJECTIVES[name], AnswerObjective) and name != "labels"]
)
def test_values_are_taught_too(name: str) -> None:
    objective = OBJECTIVES[name]
    assert isinstance(objective, AnswerObjective)
    ours, theirs = torch.tensor([[1.0], [2.0]], requires_grad=True), torch.tensor([[1.0], [4.0]])
    loss = objective.loss(Answers(ours, theirs, torch.tensor([0.0, 0.0]), 1.0))
    loss.backward()
    assert loss.item() == pytest.approx(2.0) and ours.grad is not None
    assert ours.grad[0].item() == pytest.approx(0.0) and ours.grad[1].item() < 0, "towards the teacher's value"


def test_bottlenecks_are_projected_from_their_own_width() -> None:
    layers = (BottleneckLayer(bottleneck_width=8, heads=2, qkv_width=8, ffn_width=16, ffn_count=2), STUDENT.layers[0])
    spec = replace(STUDENT, layers=layers)
    assert feature_widths(spec, "attention_outputs") == (16, 8, 16)
    lesson = Lesson(build_student(spec), (Term("elm-attention"),), sharp(TEACHER, 0))
    assert {tuple(layer.weight.shape) for layer in lesson.projections.values()} == {(24, 8), (24, 16)}
    assert torch.isfinite(lesson(**make_batch(), share_done=torch.tensor(0.0))["loss"])


@pytest.mark.parametrize(("student", "teacher", "heads"), [(384, 384, 12), (312, 384, 12), (320, 384, 8), (7, 384, 1)])
def test_relation_heads_divide_both_widths(student: int, teacher: int, heads: int) -> None:
    assert relation_heads(student, teacher) == heads


def test_terms_act_in_their_share_of_the_run_only() -> None:
    student = build_student(STUDENT, 1)
    lesson = Lesson(student, (Term("labels", end=0.5), Term("labels", weight=3.0, start=0.5)))
    early, late = (lesson(**make_batch(), share_done=torch.tensor(share))["loss"].item() for share in (0.2, 0.5))
    assert late == pytest.approx(3 * early, rel=1e-5)


@pytest.mark.parametrize(
    ("rule", "weights"), [("constant", [2, 2, 2]), ("growth", [0, 1, 1.5]), ("decay", [2, 1, 0.5])]
)
def test_weights_grow_and_decay_over_their_part_of_the_run(rule: str, weights: list[float]) -> None:
    term = Term("labels", weight=2.0, start=0.2, end=0.6, weight_rule=rule)
    assert [term.weight_at(share) for share in (0.2, 0.4, 0.5)] == pytest.approx(weights)


def test_temperatures_fall_where_the_student_has_most_to_learn() -> None:
    teacher = torch.tensor([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0]])
    student = torch.tensor([[4.0, 0.0], [1.0, 0.5], [0.0, 4.0]])
    answers = Answers(student, teacher, torch.tensor([0, 0, 0]))
    focal = TEMPERATURES["flsw"](answers, 4.0, 2.0)
    assert isinstance(focal, Tensor) and focal.shape == (3, 1)
    assert focal[0] > focal[1] > focal[2] and float(focal.mean()) == pytest.approx(4.0, abs=1e-5)
    confident = TEMPERATURES["cwsm"](answers, 4.0, 2.0)
    assert isinstance(confident, Tensor)
    assert confident[1] < confident[0] and float(confident[0]) == pytest.approx(float(confident[2]))
    assert float(TEMPERATURES["cwsm"](answers, 1.0, 50.0).min()) == LEAST_TEMPERATURE
    assert TEMPERATURES["constant"](answers, 4.0, 2.0) == 4.0


def test_a_temperature_of_each_answer_is_its_own() -> None:
    student, teacher = torch.randn(2, 3), torch.randn(2, 3)
    labels = torch.tensor([0, 1])
    for name in ("logits", "logits-ce", "logits-mse"):
        objective = OBJECTIVES[name]
        assert isinstance(objective, AnswerObjective)
        both = objective.loss(Answers(student, teacher, labels, torch.tensor([[1.0], [3.0]])))
        apart = [
            objective.loss(Answers(student[i : i + 1], teacher[i : i + 1], labels[i : i + 1], temperature))
            for i, temperature in enumerate((1.0, 3.0))
        ]
        assert both.item() == pytest.approx(torch.stack(apart).mean().item(), rel=1e-5)


def test_a_wrong_teacher_is_put_right_and_a_right_one_left_alone() -> None:
    teacher = torch.tensor([[1.0, 5.0, 2.0], [1.0, 5.0, 2.0]])
    assert shifted(teacher, torch.tensor([2, 1])).tolist() == [[1.0, 2.0, 5.0], [1.0, 5.0, 2.0]]
    assert teacher[0].tolist() == [1.0, 5.0, 2.0]


def test_values_are_learnt_by_their_squared_error() -> None:
    objective = OBJECTIVES["labels"]
    assert isinstance(objective, AnswerObjective)
    loss = objective.loss(Answers(torch.tensor([[1.0], [3.0]]), None, torch.tensor([1.0, 1.0])))
    assert loss.item() == pytest.approx(2.0)


def test_correlated_answers_ignore_scale_and_shift_of_probabilities() -> None:
    """A student whose probabilities are the teacher's drawn together has nothing to learn: Pearson's is 1."""
    objective = OBJECTIVES["logits-dist"]
    assert isinstance(objective, AnswerObjective)
    theirs = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])
    ours = 0.5 * theirs + 0.5 / 3
    loss = objective.loss(Answers(ours.log(), theirs.log(), torch.tensor([0, 1, 2])))
    assert loss.item() == pytest.approx(0, abs=1e-5)


def test_kept_distances_and_angles_cost_nothing() -> None:
    """A turned and enlarged copy of the teacher's texts lies as they do."""
    texts = torch.randn(5, 1, 6)
    turned = torch.linalg.qr(torch.randn(6, 6))[0]
    mask = torch.ones(5, 1, dtype=torch.bool)
    teacher = Features(torch.zeros(5, 2), mask, (texts, texts))
    student = Features(torch.zeros(5, 2), mask, (texts, 3 * texts @ turned))
    for name in ("rkd-distance", "rkd-angle"):
        objective = OBJECTIVES[name]
        assert isinstance(objective, LayerObjective)
        assert objective.loss(student, teacher, Match(0, (0,))).item() == pytest.approx(0, abs=1e-5)


def test_only_hidden_states_have_embeddings() -> None:
    Term("hidden", matching="embeddings")
    with pytest.raises(UserError, match="'attention' cannot be matched to embeddings"):
        Term("attention", matching="embeddings")
    lesson = Lesson(build_student(STUDENT, 1), (Term("hidden", matching="embeddings"),), sharp(TEACHER, 0))
    lesson(**make_batch(), share_done=torch.tensor(0.0))["loss"].backward()
    layers = lesson.student.base_model.layers
    assert all(parameter.grad is None for layer in layers for parameter in layer.parameters())


def test_a_causal_model_is_not_compared_where_it_does_not_look() -> None:
    batch = make_batch()
    seen, theirs = extract(sharp(STUDENT, 1), batch, ALL), extract(sharp(TEACHER, 0), batch, ALL)
    seen = replace(seen, causal=True)

    def spoil(features: Features) -> Features:
        """Other scores of tokens that come after."""
        ahead = torch.ones(7, 7, dtype=torch.bool).triu(1)
        return replace(
            features, attention_scores=tuple(torch.where(ahead, 7.0, scores) for scores in features.attention_scores)
        )

    for name in (name for name in OBJECTIVES.names() if name.startswith("attention")):
        loss, spoilt = (
            loss_between(name, *both, batch["labels"]) for both in ((seen, theirs), (spoil(seen), spoil(theirs)))
        )
        assert spoilt.item() == pytest.approx(loss.item())
    pairs = seen_pairs(seen)
    assert pairs[0].equal(torch.ones(7, 7, dtype=torch.bool).tril()) and not pairs[1, :, 5:].any()


def test_a_causal_text_is_seen_by_its_last_token() -> None:
    features = replace(extract(sharp(STUDENT, 1), make_batch(padding=2), ALL), causal=True)
    layer = features.hidden_states[1]
    assert of_texts(layer, features).equal(layer[torch.arange(4), torch.tensor([6, 4, 6, 6])])
    assert of_texts(layer, replace(features, causal=False)).equal(layer[:, 0])
