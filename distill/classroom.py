"""What all students of one teacher on one task share: tokens, the teacher's answers, its channels' importance."""

from collections.abc import Mapping
from functools import cached_property, lru_cache
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from distill.augmentation import with_replacements
from distill.batches import Encoded, PlannedBatches
from distill.encoding import encode
from distill.evaluation import WORDS_BATCH, Logits, answer, context_of
from distill.examples import Split, Task
from distill.extra import Extra, joined, unlabelled
from distill.forms import layers_of, spec_of, students_inputs, words_of
from distill.initialization import Source, earlier_model, earlier_source, find_initialization, random_weights
from distill.kinds import KINDS, LanguageModel, TaskKind
from distill.lesson import Lesson, needs_answers, needs_teacher_inside
from distill.masking import Masking, masking_of
from distill.numerics import training_device
from distill.recipe import Recipe
from distill.remembered import Remembered
from distill.stock_teachers import check_stock
from distill.stored_answers import PART_TEXTS, stored_answers
from distill.stored_features import LEAST_VISITS, MOST_BYTES, stored_inside
from distill.stored_importance import load_importance, save_importance
from distill.teachers import Teacher
from distill.units import Unit, answer_in_unit, labels_learnt, told, unit_of
from runs.files import folder_atomic
from runs.progress import Progress
from students.importance import Importance
from students.model import StudentPreTrainedModel
from students.slicing import importance
from students.spec import StudentSpec
from students.stock_encoders import student_form

IMPORTANCE_BATCHES = 8
IMPORTANCE_BATCH = 32
IMPORTANCE_FILE = "importance.safetensors"

SAMPLE_WORDS = 5000
"""How far a student's perplexity is from its teacher's is then known to about 0.8 % (a standard error, measured on the
next words of SST-2's sentences), and judging takes no longer than some dozens of steps."""


class Classroom:
    """Lazily holds what is asked for; what costs more than a second is kept in the teacher's folder as well.

    Where the task is about numbers, teacher, students and training labels are in the `unit` here (`distill.units`).
    """

    def __init__(self, teacher: Teacher, task: Task) -> None:
        self.teacher = teacher
        self.task = task
        self.progress = Progress(quiet=True)
        """Where it is shown how far the teacher has got with what takes minutes."""
        self.least_visits = LEAST_VISITS
        """Runs that come to each text less often store nothing of what they see inside the teacher."""
        self.remembered = Remembered()
        """What a language model made of texts; to be given to lessons whose texts come again as they are."""

    @cached_property
    def tokenizer(self) -> Any:
        """The teacher's, which is the students' too."""
        return self.teacher.tokenizer()

    @cached_property
    def model(self) -> Any:
        """The teacher's network, on the training device, in eval mode."""
        model = self.teacher.model()
        answer_in_unit(model, self.unit)
        torch.nn.Module.to(model, training_device())
        return model

    @cached_property
    def student_form(self) -> StudentPreTrainedModel:
        """What students are cut from: the teacher, or a copy of it without what students lack."""
        if spec_of(self.model) is not None:
            model: StudentPreTrainedModel = self.model
            return model
        inputs = students_inputs(self.model, self.tokenizer)
        head = self.kind.head_for(self.task.label_names)
        copy = student_form(self.model, head, inputs.token_types, inputs.maximum_positions)
        torch.nn.Module.to(copy, training_device())
        return copy

    @cached_property
    def unit(self) -> Unit | None:
        """In which numbers are learnt."""
        return unit_of(self.task)

    @cached_property
    def train(self) -> Encoded:
        """Tokens of the train split, and what is learnt of its labels."""
        encoded = encode(self.tokenizer, self.task.train, self.teacher.maximum_length, self.task.kind)
        return labels_learnt(encoded, self.unit)

    @cached_property
    def validation(self) -> Encoded:
        """Tokens and labels of the validation split."""
        return encode(self.tokenizer, self.task.validation, self.teacher.maximum_length, self.task.kind)

    @property
    def kind(self) -> TaskKind:
        """What the task is."""
        return KINDS[self.task.kind]

    @cached_property
    def masking(self) -> Masking | None:
        """How words are hidden, where they are."""
        return masking_of(self.task.kind, self.tokenizer)

    @cached_property
    def train_logits(self) -> Logits | None:
        """The teacher's answers to the train split, memory-mapped [n, labels] or [tokens, labels].

        None where they would be more than `MOST_BYTES`, and of language models, whose answers are as many as there are
        words: those are asked for step by step.
        """
        return self.training_logits(self.train, "train")

    def training_logits(self, encoded: Encoded, part: str) -> Logits | None:
        """The teacher's answers to texts to learn from, stored as `part`; None as of `train_logits`."""
        rows = len(encoded.ids) if self.kind.per_token else len(encoded)
        labels = self.kind.head_for(self.task.label_names).labels
        if isinstance(self.kind, LanguageModel) or 4 * rows * labels > MOST_BYTES:
            return None
        return self._logits(part, encoded, mixed=True)

    @cached_property
    def validation_logits(self) -> Logits:
        """The teacher's answers to the validation split (`distill.evaluation.answer`), memory-mapped."""
        return self._logits("validation", self.validation, mixed=False)

    def ask_teacher(self) -> None:
        """Store the teacher's answers to the validation split now, before anybody's words are left out."""
        _ = self.validation_logits, self.sample_logits

    @cached_property
    def sample(self) -> Encoded:
        """What of the validation split a candidate is judged on: all of it, or of a language model's texts, evenly
        taken, as many as ask for `SAMPLE_WORDS`."""
        if not isinstance(self.kind, LanguageModel):
            return self.validation
        texts, words = len(self.validation), self.kind.asked_share * len(self.validation.ids)
        chosen = ceil(texts * SAMPLE_WORDS / words)
        return self.validation if chosen >= texts else self.validation.take(np.arange(chosen) * texts // chosen)

    @cached_property
    def sample_logits(self) -> Logits:
        """The teacher's answers to the `sample`, memory-mapped."""
        if self.sample is self.validation:
            return self.validation_logits
        return self._logits(f"sample-{self.sample.texts_hash}", self.sample, mixed=False)

    def _place(self, what: str) -> Path:
        return self.teacher.folder / "outputs" / f"{what}-{self.task.content_hash}"

    def _logits(self, name: str, encoded: Encoded, mixed: bool) -> Logits:
        def ask(texts: Encoded) -> Logits:
            return answer(self.model, texts, self.task.kind, mixed, self.masking)

        # Which words are hidden from a language model depends on all texts that it is asked for.
        if isinstance(self.kind, LanguageModel):
            return stored_answers(self._place(name), encoded, ask, self.progress, len(encoded))
        shared = self._place("parts") if mixed else None
        return stored_answers(self._place(name), encoded, ask, self.progress, PART_TEXTS, shared)

    def material(self, extra: Extra, seed: int) -> Encoded:
        """All that is learnt from: the train split, texts that nobody labelled, and copies with words replaced."""
        if not extra:
            return self.train
        parts = [self.train]
        if extra.texts:
            labels = (unlabelled(self.task.kind),) * len(extra.texts)
            more = Split(extra.texts, None, labels)
            parts.append(encode(self.tokenizer, more, self.teacher.maximum_length, self.task.kind))
        encoded = joined(parts)
        if extra.replacement is not None:
            table = words_of(self.model).detach().float().cpu().numpy()
            encoded = with_replacements(encoded, table, extra.replacement, self.tokenizer.all_special_ids, seed)
        return encoded

    def lesson(self, student: StudentPreTrainedModel, recipe: Recipe, seed: int, logits: Logits | None) -> Lesson:
        """The student under the recipe, with the teacher beside it where that is needed."""
        lesson = Lesson(student, recipe.terms, self.teacher_beside(recipe, logits), seed, self.task.kind)
        lesson.remembered = self.remembered_always
        return lesson

    @property
    def remembered_always(self) -> Remembered | None:
        """What is remembered from step to step of any run: nothing where words are hidden, each time others."""
        return self.remembered if self.kind.causal else None

    def teacher_beside(self, recipe: Recipe, logits: Logits | None) -> Any | None:
        """The teacher where a recipe needs more of it than its stored answers `logits`."""
        asked = logits is None and any(map(needs_answers, recipe.terms))
        return self.model if asked or needs_teacher_inside(recipe.terms) else None

    def planned(
        self,
        lesson: Lesson,
        encoded: Encoded,
        logits: Logits | None,
        plan: list[npt.NDArray[np.int64]],
        seed: int,
        work: Path | None = None,
    ) -> PlannedBatches:
        """The batches of a run, each with all that was stored of the teacher for it.

        What a lesson sees inside the teacher is stored first where the run comes to its texts often enough, it is
        little enough, and they are the task's own: copies differ from seed to seed (`distill.stored_features`). To be
        asked for before words are left out, and renumbered after. A run that goes on in its folder `work` does what it
        did before, however much room the disk has now.
        """
        batches = PlannedBatches(encoded, plan, logits, self.masking, seed, None, lesson.looks_inside_until)
        visits = lesson.looks_inside_until * sum(map(len, plan)) / len(encoded)
        asked = logits is None and any(map(needs_answers, lesson.terms))
        if asked or encoded is not self.train or self.masking is not None or not visits or visits < self.least_visits:
            return batches
        sample = {name: tensor.to(training_device()) for name, tensor in batches[0].items()}
        lesson.to_device(training_device())
        folder = self._place(f"inside-{encoded.texts_hash}")
        batches.inside = stored_inside(lesson.looks_at(sample), self.model, encoded, folder, work)
        return batches

    @cached_property
    def _validation_context(self) -> Any:
        names, length = self.task.label_names, self.teacher.maximum_length
        return context_of(self.task.kind, self.tokenizer, self.task.validation, self.validation, length, names)

    def judge_candidate(self, student: Any) -> tuple[float, float]:
        """A candidate's score, and its divergence from the teacher, on the `sample`."""
        answers = answer(student, self.sample, self.task.kind, mixed=True, prepare=self.masking)
        if self.sample is self.validation:
            scores, divergence = self.judge(answers)
        else:
            scores = self.kind.scores(answers, self.sample.labels)
            divergence = self.kind.divergence(answers, np.asarray(self.sample_logits), self.sample)
        return scores[self.task.metric], divergence

    def scores(self, answers: Logits) -> Mapping[str, float]:
        """Scores on validation, the metric first, of answers in numbers of the data."""
        return self.kind.scores(answers, self.validation.labels, self._validation_context)

    def judge(self, logits: Logits) -> tuple[Mapping[str, float], float]:
        """Scores on validation of a model in the unit, and its divergence from the teacher."""
        scores = self.scores(told(logits, self.unit))
        return scores, self.kind.divergence(logits, np.asarray(self.validation_logits), self.validation)

    @cached_property
    def importance(self) -> Importance:
        """What the teacher's channels, heads and neurons are worth, from some batches of the train split."""
        place = self._place("importance")
        if not (place / IMPORTANCE_FILE).is_file():
            with folder_atomic(place) as folder:
                save_importance(folder / IMPORTANCE_FILE, self._importance_of(self.student_form))
        return load_importance(place / IMPORTANCE_FILE)

    def _importance_of(self, model: StudentPreTrainedModel) -> Importance:
        chosen = np.random.default_rng(0).permutation(len(self.train))[: IMPORTANCE_BATCHES * IMPORTANCE_BATCH]
        order = chosen[np.argsort(self.train.lengths[chosen], kind="stable")]
        size = WORDS_BATCH if isinstance(self.kind, LanguageModel) else IMPORTANCE_BATCH
        parts = np.array_split(order, -(-len(order) // size))
        plain = PlannedBatches(self.train, parts, prepare=self.masking)
        return importance(model, [plain[step] for step in range(len(parts))])

    def _source(self, spec: StudentSpec, recipe: Recipe, seed: int) -> Source:
        """What the start is taken from: the teacher, or an earlier model under a head for the task."""
        folder = earlier_model(recipe.initialization)
        if folder is not None:
            return earlier_source(folder, spec, recipe, seed, self.task.label_names, self.unit, self._importance_of)
        if spec_of(self.model) is None:
            check_stock(self.teacher.folder, self.task.kind, recipe)
        looked_at = find_initialization(recipe.initialization) is not random_weights
        model = self.student_form if looked_at else self.model
        return Source(model, lambda: self.importance, recipe.starting_layers(len(spec.layers), layers_of(model)), seed)

    def start(self, spec: StudentSpec, recipe: Recipe, seed: int) -> StudentPreTrainedModel:
        """A student as the recipe's initialization leaves it, with the task's label names."""
        student = find_initialization(recipe.initialization)(spec, self._source(spec, recipe, seed))
        if self.task.label_names:
            student.config.id2label = dict(enumerate(self.task.label_names))
            student.config.label2id = {name: number for number, name in enumerate(self.task.label_names)}
        return student


@lru_cache(maxsize=2)
def classroom(teacher: Teacher, task: Task) -> Classroom:
    """The classroom of this teacher and task, the same one for every student of this process."""
    return Classroom(teacher, task)
