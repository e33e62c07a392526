"""The model card of a distilled student: what it is, what it learnt from, and under which licences."""

from collections.abc import Mapping
from typing import Any

from distill.examples import Task
from distill.recipe import Recipe
from distill.teachers import Teacher
from students.spec import StudentSpec, layer_text


def model_card(spec: StudentSpec, teacher: Teacher, task: Task, recipe: Recipe, result: Mapping[str, Any]) -> str:
    """Markdown for the student's README."""
    layers = ", ".join(layer_text(layer) for layer in spec.layers)
    return f"""# A student of {teacher.name} for {task.name}

Made by tailorbird: {len(spec.layers)} layers of hidden width {spec.hidden_width} \
({layers}), {spec.parameters():,} parameters.

- **Answers**: {", ".join(task.label_names)}
- **Data**: {task.name}, from {task.source}; licence: {task.licence}
- **Teacher**: {teacher.name}, {teacher.parameters:,} parameters; licence: {teacher.licence}
- **Recipe**: {recipe.name}, {result["steps"]} steps
- **Validation {task.metric}**: {result["validation_score"]:.3f} (teacher {teacher.validation_score:.3f})

Texts are cut at {teacher.maximum_length} tokens in training. Both licences above bind the use of this model.

Load it with `import students.model` and then `AutoModelForSequenceClassification.from_pretrained(folder)`.
"""
