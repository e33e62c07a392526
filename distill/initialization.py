"""What a student starts from: random weights, whole layers of the teacher, or the teacher cut to its widths."""

from collections.abc import Callable
from dataclasses import dataclass

from runs.errors import UserError
from runs.registry import Registry
from students.model import StudentForSequenceClassification, StudentPreTrainedModel, build_student, encoder_of
from students.slicing import Importance, require_sliceable, slice_student
from students.spec import StudentSpec


@dataclass(frozen=True)
class Source:
    """The teacher and what is known of it; `importance` is asked only by who needs it.

    `layer_map`: the teacher layer that each student layer comes from, both counted from 0.
    """

    teacher: StudentPreTrainedModel
    importance: Callable[[], Importance]
    layer_map: tuple[int, ...]
    seed: int = 0


Initialization = Callable[[StudentSpec, Source], StudentPreTrainedModel]

INITIALIZATIONS: Registry[Initialization] = Registry("initialization")


@INITIALIZATIONS.register("random")
def random_weights(spec: StudentSpec, source: Source) -> StudentPreTrainedModel:
    """BERT's random weights from the seed; the teacher is not looked at."""
    return build_student(spec, source.seed)


@INITIALIZATIONS.register("teacher-layers")
def teacher_layers(spec: StudentSpec, source: Source) -> StudentPreTrainedModel:
    """Embedding, head and whole layers of the teacher; `UserError` unless every width is the teacher's.

    Layers that share weights take those of the teacher layer that the first of them comes from.
    """
    theirs = source.teacher.config.spec_object
    wanted = tuple(theirs.layers[layer] for layer in source.layer_map)
    if (spec.embedding_width, spec.hidden_width, spec.layers) != (theirs.embedding_width, theirs.hidden_width, wanted):
        raise UserError(
            "the initialization 'teacher-layers' needs a student with the teacher's widths: use 'sliced' for others."
        )
    student = build_student(spec, source.seed)
    ours, encoder = encoder_of(student), encoder_of(source.teacher)
    ours.embeddings.load_state_dict(encoder.embeddings.state_dict())
    for place, layer in enumerate(source.layer_map):
        if spec.owners[place] != place:
            continue
        ours.layers[place].load_state_dict(encoder.layers[layer].state_dict())
    if isinstance(student, StudentForSequenceClassification):
        assert isinstance(source.teacher, StudentForSequenceClassification)
        student.head.load_state_dict(source.teacher.head.state_dict())
    return student


@INITIALIZATIONS.register("sliced")
def sliced(spec: StudentSpec, source: Source) -> StudentPreTrainedModel:
    """The teacher's layers cut to the student's widths, the most important channels, heads and neurons kept."""
    return slice_student(source.teacher, spec, source.importance(), source.layer_map)


def check_start(initialization: str, spec: StudentSpec) -> None:
    """Raise `UserError` where no teacher could give such a student its start; to be asked before one is prepared."""
    if INITIALIZATIONS[initialization] is sliced:
        require_sliceable(spec)
