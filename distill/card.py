"""The model card of a distilled student: what it is, how well it answers, what it learnt from, which licences bind."""

from collections.abc import Mapping
from typing import Any

from distill.examples import Task
from distill.recipe import Recipe, Term
from distill.teachers import Teacher
from students.heads import HeadKind
from students.model import AUTO_CLASSES
from students.spec import StudentSpec, layer_text

PIPELINES: Mapping[HeadKind, str] = {
    "classification": "text-classification",
    "regression": "text-classification",
    "tokens": "token-classification",
    "spans": "question-answering",
    "masked-lm": "fill-mask",
    "causal-lm": "text-generation",
}
"""Head kind → what model hubs call its task."""

MOST_NAMES = 50
"""Labels that a card names."""


def auto_class(kind: HeadKind) -> str:
    """Name of the `transformers` class that loads a student with such a head."""
    name: str = next(auto.__name__ for auto, model in AUTO_CLASSES if kind in model.kinds)
    return name


def _loss(term: Term) -> str:
    part = "" if (term.start, term.end) == (0, 1) else f", from {term.start:.0%} to {term.end:.0%} of the run"
    return f"{term.objective} (weight {term.weight:g}{part})"


def _answers(names: tuple[str, ...]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return [f"- **Answers**: {', '.join(names[:MOST_NAMES])}{more}"]


def model_card(spec: StudentSpec, teacher: Teacher, task: Task, recipe: Recipe, result: Mapping[str, Any]) -> str:
    """Markdown for the student's README, with the header that model hubs read; `result` as in distilled.json."""
    layers = ", ".join(layer_text(layer) for layer in spec.layers)
    scores = [
        f"| {name} | {value:.4f} | |" for name, value in result["validation_scores"].items() if name != task.metric
    ]
    optimization = recipe.optimization
    copies = f", among them up to {recipe.augment} copies of each text with words replaced" if recipe.augment else ""
    lines = [
        "---",
        "library_name: transformers",
        f"pipeline_tag: {PIPELINES[task.kind]}",
        "tags: [tailorbird, knowledge-distillation]",
        "---",
        f"# A student of {teacher.name} for {task.name}",
        "",
        f"Made by tailorbird: {len(spec.layers)} layers of hidden width {spec.hidden_width} ({layers}), "
        f"{spec.parameters():,} parameters beside the teacher's {teacher.parameters:,}.",
        "",
        f"- **Task**: {task.kind}",
        *_answers(task.label_names),
        f"- **Data**: {task.name}, from {task.source}: {len(task.train):,} examples to learn from, "
        f"{len(task.validation):,} to validate on, {len(task.test):,} to test on; licence: {task.licence}",
        f"- **Teacher**: {teacher.name}; licence: {teacher.licence}",
        f"- **Recipe**: {recipe.name}: {', '.join(map(_loss, recipe.terms))}; started from {recipe.initialization}; "
        f"{result['steps']} steps of {optimization.examples_per_step} examples{copies}, "
        f"kept as it was after {result['kept_step']}",
        "",
        "## On the validation split",
        "",
        "| score | student | teacher |",
        "|---|---|---|",
        f"| {task.metric} | {result['validation_score']:.4f} | {teacher.validation_score:.4f} |",
        *scores,
        "",
        f"Divergence from the teacher: {result['divergence']:.4g}. The student was chosen on this split, so scores on "
        "texts it has never met are somewhat lower; `distill-student` prints those of the test split.",
        "",
        "## Use",
        "",
        f"Texts were cut at {teacher.maximum_length} tokens in training. Both licences above bind the use of this "
        "model.",
        "",
        f"Load it with `import students.model` and then `{auto_class(spec.head.kind)}.from_pretrained(folder)`.",
    ]
    return "\n".join(lines) + "\n"
