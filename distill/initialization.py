"""What a student starts from: random weights, whole layers of a model, or a model cut to the student's widths."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distill.checkpoints import has_tokenizer, load_tokenizer
from distill.label_names import reorder_labels, same_labels
from distill.recipe import Recipe
from distill.units import Unit, answer_in_unit
from runs.errors import UserError
from runs.registry import Registry
from students.bert import load_model
from students.headed import StudentWithHead
from students.leading import leading_part, require_within
from students.model import StudentPreTrainedModel, build_student, encoder_of, with_head
from students.slicing import Importance, require_sliceable, slice_student
from students.spec import StudentSpec, transformer_layers
from students.supernet import places_of


@dataclass(frozen=True)
class Source:
    """The model that a start is taken from, most often the teacher, and what is known of it.

    `importance` is asked only by who needs it; `layer_map`: the model's layer that each student layer comes from, both
    counted from 0.
    """

    model: StudentPreTrainedModel
    importance: Callable[[], Importance]
    layer_map: tuple[int, ...]
    seed: int = 0


Initialization = Callable[[StudentSpec, Source], StudentPreTrainedModel]

INITIALIZATIONS: Registry[Initialization] = Registry("initialization")


@INITIALIZATIONS.register("random")
def random_weights(spec: StudentSpec, source: Source) -> StudentPreTrainedModel:
    """BERT's random weights from the seed; the model is not looked at."""
    return build_student(spec, source.seed)


@INITIALIZATIONS.register("teacher-layers")
def teacher_layers(spec: StudentSpec, source: Source) -> StudentPreTrainedModel:
    """Embedding, head and whole layers of the model; `UserError` unless every width is the model's.

    Layers that share weights take those of the layer that the first of them comes from.
    """
    theirs = source.model.config.spec_object
    _require_widths(spec, theirs)
    student = build_student(spec, source.seed)
    ours, encoder = encoder_of(student), encoder_of(source.model)
    ours.embeddings.load_state_dict(encoder.embeddings.state_dict())
    for place, layer in enumerate(source.layer_map):
        if spec.owners[place] != place:
            continue
        ours.layers[place].load_state_dict(encoder.layers[layer].state_dict())
    if isinstance(student, StudentWithHead) and isinstance(source.model, StudentWithHead) and spec.head == theirs.head:
        student.head.load_state_dict(source.model.head.state_dict())
    return student


def _require_widths(spec: StudentSpec, theirs: StudentSpec) -> None:
    widths = spec.embedding_width == theirs.embedding_width and spec.hidden_width == theirs.hidden_width
    if not widths or not set(spec.layers) <= set(theirs.layers):
        raise UserError(
            "the initialization 'teacher-layers' needs a student with the teacher's widths: use 'refitted' for others."
        )


@INITIALIZATIONS.register("sliced")
def sliced(spec: StudentSpec, source: Source) -> StudentPreTrainedModel:
    """The model's layers cut to the student's widths: the most important channels, heads and neurons as they are."""
    return slice_student(source.model, spec, source.importance().alone(), source.layer_map)


@INITIALIZATIONS.register("refitted")
def refitted(spec: StudentSpec, source: Source) -> StudentPreTrainedModel:
    """The same cut, each projection refitted by least squares on the model's activations, so that what is kept also
    tells what is dropped (`students.slicing`)."""
    return slice_student(source.model, spec, source.importance(), source.layer_map)


def continued(spec: StudentSpec, source: Source) -> StudentPreTrainedModel:
    """A model of the same shape, whose head is the task's already, as it is; any other `refitted`."""
    if source.model.config.spec_object != spec:
        return refitted(spec, source)
    student = build_student(spec, source.seed)
    student.load_state_dict(source.model.state_dict())
    return student


SUPERNET = "supernet:"
"""Before a folder: the model in it is a supernet, to start from a part of."""


def sub_model(spec: StudentSpec, source: Source) -> StudentPreTrainedModel:
    """The part of a supernet that has the student's shape (`students.leading`)."""
    return leading_part(source.model, spec, source.layer_map)


def starting_places(recipe: Recipe, spec: StudentSpec, theirs: StudentSpec, of: str) -> tuple[int, ...]:
    """The layer of an earlier model `theirs` that each of a student's comes from; of a supernet, its place."""
    supernet = find_initialization(recipe.initialization) is sub_model
    layers = places_of(theirs, of) if supernet else len(theirs.layers)
    return recipe.starting_layers(len(spec.layers), layers, of)


def earlier_source(
    folder: Path,
    spec: StudentSpec,
    recipe: Recipe,
    seed: int,
    names: Sequence[str],
    unit: Unit | None,
    importance_of: Callable[[StudentPreTrainedModel], Importance],
) -> Source:
    """A start from the earlier model in `folder`, under a head for the task whose labels have `names`."""
    earlier = load_model(folder)
    order = same_labels(earlier, spec.head, names)
    if order is None:
        earlier = with_head(earlier, spec.head, seed)
    else:
        answer_in_unit(earlier, unit)
    if order:
        reorder_labels(earlier, order, names)
    theirs = earlier.config.spec_object
    # One that goes on as it was needs no map.
    same = find_initialization(recipe.initialization) is continued and theirs == spec
    layer_map = () if same else starting_places(recipe, spec, theirs, f"the model in {folder}")
    return Source(earlier, lambda: importance_of(earlier), layer_map, seed)


def earlier_model(initialization: str) -> Path | None:
    """The folder of a model to start from; None where the initialization is a name."""
    place = initialization.removeprefix(SUPERNET)
    folder = Path(place).expanduser()
    return folder if place and initialization not in INITIALIZATIONS and folder.is_dir() else None


def kind_of_start(initialization: str) -> str:
    """An initialization without the place of the model that it names."""
    if earlier_model(initialization) is None:
        return initialization
    return SUPERNET if initialization.startswith(SUPERNET) else "an earlier student"


def find_initialization(initialization: str) -> Initialization:
    """What makes the start: by name, or from the model in a folder; `UserError` where it is neither."""
    if earlier_model(initialization):
        return sub_model if initialization.startswith(SUPERNET) else continued
    if not initialization:
        raise UserError(f"a recipe's initialization is one of {', '.join(INITIALIZATIONS)}, or a model's folder.")
    if initialization not in INITIALIZATIONS and ("/" in initialization or initialization.startswith(SUPERNET)):
        folder = initialization.removeprefix(SUPERNET)
        raise UserError(f"the model folder {folder} to start from does not exist.")
    return INITIALIZATIONS[initialization]


def check_source(recipe: Recipe, spec: StudentSpec, teacher_layers: int, tokenizer: Any) -> None:
    """Raise `UserError` where the layer map names a layer that is not there, or a recipe starts from an earlier model
    with other words than the teacher's `tokenizer` has; to be asked before any training."""
    folder = earlier_model(recipe.initialization)
    if folder is None:
        recipe.starting_layers(len(spec.layers), teacher_layers)
        return
    if has_tokenizer(folder) and load_tokenizer(folder).get_vocab() != tokenizer.get_vocab():
        raise UserError(
            f"the model in {folder} has another tokenizer than the teacher, so that its words are others: start from a "
            "student of this teacher, or of one with its tokenizer."
        )
    theirs, of = load_model(folder).config.spec_object, f"the model in {folder}"
    if find_initialization(recipe.initialization) is sub_model:
        require_within(spec, theirs, starting_places(recipe, spec, theirs, of), of)
    elif replace(spec, head=theirs.head) != theirs:
        recipe.starting_layers(len(spec.layers), len(theirs.layers), of)


def check_start(initialization: str, spec: StudentSpec, teacher: StudentSpec | None = None) -> None:
    """Raise `UserError` where no model could give such a student its start; to be asked before any training.

    `teacher` is the teacher's, where it is known before it is fitted.
    """
    folder = earlier_model(initialization)
    if folder is not None and find_initialization(initialization) is continued:
        theirs = load_model(folder).config.spec_object
        if replace(spec, head=theirs.head) == theirs:
            return
        if theirs.vocabulary_size != spec.vocabulary_size:
            raise UserError(
                f"the model in {folder} has {theirs.vocabulary_size:,} words and the teacher's tokenizer "
                f"{spec.vocabulary_size:,}: start from a student of this teacher, or of one with its tokenizer."
            )
        if theirs.maximum_positions < spec.maximum_positions or theirs.token_types < spec.token_types:
            raise UserError(
                f"the model in {folder} has fewer positions or token types than the teacher, so that only a student of "
                "its own shape can start from it."
            )
        transformer_layers(theirs, "a start from a model of another shape")
    elif teacher is not None and find_initialization(initialization) is teacher_layers:
        _require_widths(spec, teacher)
    if find_initialization(initialization) in (sliced, refitted, continued):
        require_sliceable(spec, None if folder else teacher)
