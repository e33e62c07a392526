"""Tasks from a data set's name on the Hugging Face hub."""

from typing import Any

from distill.columns import LOCAL_FORMS, TAGS, raw_split
from distill.examples import Task, make_task
from distill.labelling import RawSplit
from distill.local_data import SPLIT_NAMES
from runs.errors import UserError
from runs.progress import Progress

ANSWER_SECONDS = 10.0
"""How long the hub may take to say that it knows the name; without network the wait would otherwise be minutes."""


def _licence(info: Any) -> str:
    card = info.card_data.to_dict() if info.card_data else {}
    licence = card.get("license") or "unknown"
    return ", ".join(licence) if isinstance(licence, list) else str(licence)


def _names(features: Any) -> list[str] | None:
    """What the data set calls its classes or tags, where it has numbers for them."""
    for column in ("label", *TAGS):
        feature = features.get(column)
        names = getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)
        if names:
            return list(names)
    return None


def load_hub(name: str, progress: Progress, kind: str | None = None) -> Task:
    """The hub's data set `name` with its own splits; columns as for local files, the kind told from them if not given.

    A split whose labels are all -1 is unlabelled, as GLUE's test splits are, and does not count. Raises `UserError`
    where the hub cannot be reached or does not know the name.
    """
    import datasets
    import huggingface_hub

    progress.say(f"data {name!r} is no local path: asking the Hugging Face hub for it")
    try:
        info = huggingface_hub.HfApi().dataset_info(name, timeout=ANSWER_SECONDS)
        tables = datasets.load_dataset(name)
    except Exception as problem:
        # The client raises errors of several libraries (HTTP, hub, data sets, script loading) without a common base.
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0].rstrip(".:")
        raise UserError(
            f"data {name!r} is no file or folder here and could not be had from the Hugging Face hub ({reason[:120]}): "
            f"give {LOCAL_FORMS}."
        ) from None
    raws: dict[str, RawSplit] = {}
    label_names = None
    for split, aliases in SPLIT_NAMES.items():
        for alias in aliases:
            if alias in tables and split not in raws:
                table = tables[alias]
                columns = {column: list(table[column]) for column in table.column_names}
                raw = raw_split(columns, f"{name} ({alias})", kind)
                label_names = label_names or _names(table.features)
                if not all(isinstance(label, int) and label == -1 for label in raw.labels):
                    raws[split] = raw
    if not raws:
        raise UserError(f"data {name!r} has no labelled train, validation or test split: give {LOCAL_FORMS}.")
    return make_task(
        raws,
        name=name,
        source=f"https://huggingface.co/datasets/{name}",
        licence=_licence(info),
        label_names=label_names,
    )
