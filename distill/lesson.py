"""A lesson: student, teacher and a recipe's terms as one module whose forward pass is the loss of a batch."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from distill.adversarial import MOVED, passes, words_moved
from distill.averaging import Average
from distill.batches import Batch
from distill.counts import UNITS, counted
from distill.features import Features, extract, no_gradient_features
from distill.forms import layers_of, widths_of
from distill.kinds import KINDS, LanguageModel
from distill.matching import Pairs, layer_pairs
from distill.numerics import mixed_precision
from distill.objectives import OBJECTIVES, AnswerObjective, Answers, LayerObjective, Match
from distill.objectives.answers import TEMPERATURES, shifted
from distill.recipe import Optimization, Term
from distill.remembered import Remembered
from distill.stored_features import Place, features_in, has_features, noted
from distill.word_scores import loss_in_chunks, word_rows


def needs_teacher_inside(terms: Sequence[Term]) -> bool:
    """Whether any term looks inside the teacher, so that its logits alone are not enough."""
    return any(isinstance(OBJECTIVES[term.objective], LayerObjective) for term in terms)


def needs_answers(term: Term) -> bool:
    """Whether a term compares answers with the teacher's."""
    objective = OBJECTIVES[term.objective]
    return isinstance(objective, AnswerObjective) and objective.needs_teacher


def _looks_at_one_answer(term: Term) -> bool:
    """Whether a term is the mean of what each answer loses by itself; other temperatures than one for all are not."""
    objective = OBJECTIVES[term.objective]
    return isinstance(objective, AnswerObjective) and objective.each_alone and term.temperature_rule == "constant"


def _compared(term: Term, ours: Tensor, theirs: Tensor | None, wanted: Tensor, real: Tensor | None = None) -> Answers:
    """What a term compares: the teacher's answers as its shift leaves them, at its temperature."""
    if theirs is None:
        return Answers(ours, None, wanted, term.temperature)
    if term.shift:
        theirs = shifted(theirs, wanted)
    answers = Answers(ours, theirs, wanted, term.temperature, real)
    temperature = TEMPERATURES[term.temperature_rule](answers, term.temperature, term.temperature_strength)
    return replace(answers, temperature=temperature)


def _place(number: int, student_width: int, teacher_width: int) -> str:
    """Name of a term's projection: one for all of its layers that are equally wide (KD-NAS has one for all)."""
    return f"{number}_{student_width}_{teacher_width}"


class Lesson(nn.Module):
    """Holds what is trained: the student, and the projections that layer terms need and that are thrown away after.

    The teacher is kept out of the state on purpose. `forward(**batch)` returns {"loss": scalar}.
    """

    def __init__(
        self,
        student: Any,
        terms: Sequence[Term],
        teacher: Any | None = None,
        seed: int = 0,
        kind: str = "classification",
        matched: Any | None = None,
    ) -> None:
        """`matched`: the model whose layers are told the teacher's; by default the student."""
        super().__init__()
        self.student = student
        matched = student if matched is None else matched
        self.kind = KINDS[kind]
        self.terms = tuple(terms)
        self._teacher = [] if teacher is None else [teacher.eval()]
        self.pairs: dict[int, Pairs] = {}
        self._widths: dict[int, list[tuple[int, int]]] = {}
        projections: dict[str, nn.Linear] = {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for number, term in enumerate(self.terms):
                objective = OBJECTIVES[term.objective]
                if not isinstance(objective, LayerObjective) or teacher is None:
                    continue
                self.pairs[number] = layer_pairs(term.matching, layers_of(matched), layers_of(teacher))
                if objective.projects is None:
                    continue
                here, there = (widths_of(model, objective.projects) for model in (matched, teacher))
                self._widths[number] = [
                    (here[layer + 1], sum(there[other + 1] for other in others)) for layer, others in self.pairs[number]
                ]
                for widths in dict.fromkeys(self._widths[number]):
                    projections[_place(number, *widths)] = nn.Linear(*widths)
        self.projections = nn.ModuleDict(projections)
        self.remembered: Remembered | None = None
        """What a language model made of texts that came before, to other students too."""
        self.average: Average | None = None
        self.adversarial = 0.0

    def prepare(self, settings: Optimization) -> None:
        """What the settings want of a lesson beside its optimizer: an average of the student's weights, moved words."""
        self.average = Average(self.student, settings.average) if settings.average else None
        self.adversarial = settings.adversarial

    @property
    def teachers(self) -> list[Any]:
        """The teacher, where it is needed beside its stored answers."""
        return self._teacher

    def _active(self, share_done: float) -> list[tuple[int, Term]]:
        return [(n, term) for n, term in enumerate(self.terms) if term.start <= share_done < term.end]

    def _students(self, share_done: float) -> Sequence[Any]:
        """What learns from a batch: their losses are averaged."""
        return [self.student]

    def _passed_on(self, first: Tensor, answers: Tensor) -> Tensor:
        """Whose answers the others learn: those of the first of the students, or the teacher's."""
        return answers

    def projection(self, number: int, ours: int, theirs: int) -> nn.Linear:
        """A term's projection from a student's width to a teacher's."""
        found = self.projections[_place(number, ours, theirs)]
        assert isinstance(found, nn.Linear)
        return found

    def _looked_through(self) -> Sequence[Any]:
        """Students that together look at all of the teacher that is ever looked at."""
        return [self.student]

    def _matches(self, number: int, student: Any) -> list[Match]:
        """The layers of a student that a term is about, each with its teacher's and the projection between them."""
        found = []
        for place, (student_layer, teacher_layers) in enumerate(self.pairs[number]):
            widths = self._widths.get(number)
            project = None if widths is None else self.projection(number, *widths[place])
            found.append(Match(student_layer, teacher_layers, project))
        return found

    def _layers(self, objective: LayerObjective, matches: list[Match], student: Features, teacher: Features) -> Tensor:
        student = replace(student, causal=self.kind.causal)
        return torch.stack([objective.loss(student, teacher, match) for match in matches]).mean()

    def forward(self, **batch: Tensor) -> dict[str, Tensor]:
        """The weighted sum of the terms that act at this share of the run.

        For a part of a batch, which says with `whole` what the whole counts, its share of the whole batch's loss
        (`distill.parts`); for one of two passes, which brings `moved`, half of it (`passes`).
        """
        if MOVED not in batch:
            return {"loss": self._loss(batch)}
        with words_moved(self.student, batch[MOVED]):
            return {"loss": self._loss(batch) / 2}

    def passes(self, batch: Batch) -> Iterator[tuple[Batch, bool]]:
        """What `forward` is to be given one after the other for one batch, and whether it is the last.

        The loss of each has to have gone backwards before the next is asked for (`distill.adversarial`).
        """
        return passes(self.student, batch, self.adversarial)

    def _loss(self, inputs: Batch) -> Tensor:
        share_done = float(inputs["share_done"])
        shares = self._shares(inputs)
        active = [(number, term) for number, term in self._active(share_done) if shares[number] > 0]
        objectives = {number: OBJECTIVES[term.objective] for number, term in active}
        wants = frozenset[str]().union(*(o.wants for o in objectives.values() if isinstance(o, LayerObjective)))
        with mixed_precision(inputs["input_ids"].device):
            # Answers that nobody stored are asked for now.
            asked = "teacher_logits" not in inputs and any(needs_answers(term) for _, term in active)
            teacher, answers = self._teachers_features(inputs, wants, asked), inputs.get("teacher_logits")
            if asked:
                answers = self._answers_now(inputs) if teacher is None else teacher.logits
            totals: list[Tensor] = []
            first: Tensor | None = None
            students = self._students(share_done)
            if len(students) == 1 and self._each_word_alone(active):
                loss = self._loss_of_words(students[0], inputs, answers, active, shares)
                if loss is not None:
                    return loss
            for model in students:
                student = extract(model, inputs, wants)
                # The first learns from the teacher in any case.
                given = answers if first is None or answers is None else self._passed_on(first, answers)
                first = student.logits.detach() if first is None else first
                # A part with nothing to learn from still has gradients, all of them 0.
                total = torch.zeros((), device=student.logits.device) if active else student.logits.sum() * 0.0
                for number, term in active:
                    objective = objectives[number]
                    if isinstance(objective, AnswerObjective):
                        loss = objective.loss(self._answers(term, student, given, inputs["labels"]))
                    else:
                        assert teacher is not None
                        loss = self._layers(objective, self._matches(number, model), student, teacher)
                    total = total + term.weight_at(share_done) * shares[number] * loss
                totals.append(total)
        return torch.stack(totals).mean()

    def _teachers_features(self, inputs: Batch, wants: frozenset[str], asked: bool) -> Features | None:
        """What the batch brings of the inside of the teacher, or what it shows when it is run; None where nothing of it
        is wanted."""
        if wants and not asked and has_features(inputs):
            return features_in(inputs, self._teacher[0])
        return no_gradient_features(self._teacher[0], inputs, wants) if wants else None

    def _answers_now(self, inputs: Batch) -> Tensor:
        """The teacher's answers to a batch that brings none."""
        teacher, kind = self._teacher[0], self.kind
        if self.remembered is None or not isinstance(kind, LanguageModel):
            return no_gradient_features(teacher, inputs, frozenset()).logits
        return self.remembered.answers(teacher, inputs, kind.asked(inputs["labels"], inputs["attention_mask"]))

    @property
    def _inner(self) -> dict[int, LayerObjective]:
        objectives = {number: OBJECTIVES[term.objective] for number, term in enumerate(self.terms)}
        return {number: one for number, one in objectives.items() if isinstance(one, LayerObjective)}

    @property
    def looks_inside_until(self) -> float:
        """The share of the run up to which the inside of the teacher is looked at; 0 where it never is."""
        return max((self.terms[number].end for number in self._inner), default=0.0)

    @torch.no_grad()
    def looks_at(self, inputs: Batch) -> set[Place]:
        """Which of the teacher's features all terms together look at, found by trying a batch."""
        seen: set[Place] = set()
        wants = frozenset[str]().union(*(objective.wants for objective in self._inner.values()))
        teacher = noted(no_gradient_features(self._teacher[0], inputs, wants), seen)
        for model in self._looked_through():
            student = extract(model, inputs, wants)
            for number, objective in self._inner.items():
                self._layers(objective, self._matches(number, model), student, teacher)
        return seen

    def _shares(self, inputs: Batch) -> list[float]:
        """How much of the whole batch each term sees here."""
        if "whole" not in inputs:
            return [1.0] * len(self.terms)
        part, whole = counted(inputs, self.kind), inputs["whole"].cpu().clamp(min=1)
        share = dict(zip(UNITS, (part / whole).tolist(), strict=True))
        return [share[OBJECTIVES[term.objective].per] for term in self.terms]

    def _each_word_alone(self, active: list[tuple[int, Term]]) -> bool:
        """Whether a language model's words are all that is learnt, and each of them by itself."""
        terms = [term for _, term in active]
        return isinstance(self.kind, LanguageModel) and bool(terms) and all(map(_looks_at_one_answer, terms))

    def _loss_of_words(
        self,
        student: Any,
        inputs: Batch,
        answers: Tensor | None,
        active: list[tuple[int, Term]],
        shares: list[float],
    ) -> Tensor | None:
        """The loss of a batch, some words after others; None of models that do not leave their scores to be made."""
        found = word_rows(student, inputs)
        if found is None:
            return None
        mask, labels, share_done = inputs["attention_mask"].bool(), inputs["labels"], float(inputs["share_done"])
        rows, wanted = self.kind.rows(found[0], labels, mask)
        theirs = None if answers is None else self.kind.rows(answers, labels, mask)[0]

        def loss(scores: Tensor, chunk: slice) -> Tensor:
            given, lost = None if theirs is None else theirs[chunk], []
            for number, term in active:
                objective = OBJECTIVES[term.objective]
                assert isinstance(objective, AnswerObjective)
                value = objective.loss(_compared(term, scores, given, wanted[chunk]))
                lost.append(term.weight_at(share_done) * shares[number] * value)
            # Every word that is asked for has a label: whatever a loss is the mean over, it is these.
            return torch.stack(lost).sum() * (len(scores) / len(rows))

        return loss_in_chunks(loss, *found)

    def _answers(self, term: Term, student: Features, teacher: Tensor | None, labels: Tensor) -> Answers:
        """What a term compares of a batch."""
        ours, wanted = self.kind.rows(student.logits, labels, student.mask)
        theirs = None if teacher is None else self.kind.rows(teacher, labels, student.mask)[0]
        return _compared(term, ours, theirs, wanted, self.kind.real(student.mask))

    def to_device(self, device: torch.device) -> "Lesson":
        """Move everything, the teacher too."""
        for teacher in self._teacher:
            teacher.to(device)
        return self.to(device)
