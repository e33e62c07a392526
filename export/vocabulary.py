"""Vocabulary pruning: a tokenizer and a student that keep the tokens a task needs, and answer its texts as before."""

import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from export.student import load_tokenizer
from export.verify import Text
from runs.errors import UserError
from runs.files import folder_atomic, read_json, write_bytes_atomic, write_json_atomic
from students.bert import load_model
from students.encoder import StudentConfig
from students.model import StudentPreTrainedModel, model_class_of

MARGIN = 1000
"""Tokens kept beyond what the texts need, unless told otherwise."""

BATCH = 1000
"""Texts cut at a time."""

PRUNED_FILE = "pruned.json"
"""What was kept; marks a checkpoint as the work of `prune_checkpoint`."""

CARD_FILE = "README.md"
"""A checkpoint's model card, which goes along."""

PLACEHOLDERS = ("[unused", "<unused")
"""What entries begin with that no text can hold; no margin is spent on them."""


@dataclass(frozen=True)
class Pruned:
    """What pruning kept: a smaller tokenizer's ids are places in `kept_ids`."""

    kept_ids: tuple[int, ...]
    """Ids of the whole tokenizer, ascending."""
    whole_size: int
    """Tokens of the whole tokenizer."""
    needed: int
    """Of the kept, those that the texts are cut into."""

    def to_json(self) -> dict[str, int]:
        """Plain numbers."""
        return {"whole": self.whole_size, "kept": len(self.kept_ids), "needed_by_texts": self.needed}


def prune_checkpoint(checkpoint: Path, texts: Sequence[Text], output: Path, *, margin: int = MARGIN) -> Pruned:
    """Write a student or BERT checkpoint again as a student with a pruned vocabulary, tokenizer included.

    The folder `output` appears whole or not at all, and may replace an earlier one that this wrote. Its answers on
    `texts` are the checkpoint's own. Raises `UserError` as `prune_vocabulary`, for a checkpoint that is none, and for
    an output folder that holds anything else.
    """
    _check_free(output)
    model = load_model(checkpoint)
    with folder_atomic(output) as scratch:
        # It was made for one user alone, and a checkpoint is for others too.
        scratch.chmod(0o755)
        pruned = prune_vocabulary(checkpoint, texts, scratch, margin=margin)
        prune_model(model, pruned.kept_ids).save_pretrained(scratch)
        write_json_atomic(scratch / PRUNED_FILE, {**pruned.to_json(), "kept_ids": list(pruned.kept_ids)})
        if (checkpoint / CARD_FILE).is_file():
            write_bytes_atomic(scratch / CARD_FILE, (checkpoint / CARD_FILE).read_bytes())
    return pruned


def prune_vocabulary(tokenizer_folder: Path, texts: Sequence[Text], output: Path, *, margin: int = MARGIN) -> Pruned:
    """Write the tokenizer in `tokenizer_folder` into the folder `output` with fewer tokens.

    Kept are added tokens; every piece that the texts, uncut, are made of; single characters, so that no word becomes
    unknown that was not, and pieces with a character that has no single one (BERT's English vocabulary has them all);
    and `margin` more in the vocabulary's own order, which in BERT's is roughly that of frequency. Word pieces are found
    longest first, so a text all of whose pieces are kept is cut as before; of others, words fall into smaller pieces.
    Raises `UserError` for texts that are none, a tokenizer that is missing or not WordPiece, and an output that is the
    tokenizer's own folder.
    """
    if not texts:
        raise UserError("there are no texts to choose the vocabulary by: give those of the task.")
    if margin < 0:
        raise UserError(f"a margin of {margin} tokens is less than none: give 0 or more.")
    if output.resolve() == tokenizer_folder.resolve():
        raise UserError(f"{output} is where the whole tokenizer lies: name another folder for the pruned one.")
    tokenizer = load_tokenizer(tokenizer_folder)
    description = _description(tokenizer, tokenizer_folder)
    vocabulary: dict[str, int] = description["model"]["vocab"]
    sentences = [part for text in texts for part in ([text] if isinstance(text, str) else text)]
    needed = {number for ids in _cut(tokenizer, sentences) for number in ids}
    kept = needed | _always(description)
    further = sorted((number, piece) for piece, number in vocabulary.items() if number not in kept)
    real = [number for number, piece in further if not piece.startswith(PLACEHOLDERS)]
    kept_ids = tuple(sorted(kept | set(real[:margin])))
    with tempfile.TemporaryDirectory() as scratch:
        written = Path(scratch)
        tokenizer.save_pretrained(written)
        _rewrite(written, description, kept_ids)
        _check_same(tokenizer, load_tokenizer(written), sentences, kept_ids)
        output.mkdir(parents=True, exist_ok=True)
        for path in sorted(written.iterdir()):
            write_bytes_atomic(output / path.name, path.read_bytes())
    return Pruned(kept_ids, len(tokenizer), len(needed))


def prune_model(model: StudentPreTrainedModel, kept_ids: Sequence[int]) -> StudentPreTrainedModel:
    """A copy of a student whose vocabulary is that of `kept_ids`, in their order; in eval mode.

    Everything that has a row a token loses the rows of the others: the word embedding, and what scores words. Raises
    `UserError` for ids that the model does not know.
    """
    spec = model.config.spec_object
    strange = [number for number in kept_ids if not 0 <= number < spec.vocabulary_size]
    if strange or not kept_ids:
        raise UserError(
            f"the tokenizer's id {strange[0] if strange else 'list'} is not among the {spec.vocabulary_size} tokens of "
            "the model: they do not belong together."
        )
    settings = model.config.to_dict()
    settings["spec"] = {**spec.to_json(), "vocabulary_size": len(kept_ids)}
    config = StudentConfig.from_dict(settings)
    pruned: StudentPreTrainedModel = model_class_of(config.spec_object)(config)
    shapes = {name: value.shape for name, value in pruned.state_dict().items()}
    rows = torch.tensor(kept_ids)
    weights = {
        name: value if value.shape == shapes[name] else value.index_select(0, rows.to(value.device))
        for name, value in model.state_dict().items()
    }
    pruned.load_state_dict(weights)
    pruned.train(False)
    return pruned


def _description(tokenizer: Any, folder: Path) -> dict[str, Any]:
    """The content of a fast tokenizer's tokenizer.json; `UserError` where it is not WordPiece."""
    fast = getattr(tokenizer, "backend_tokenizer", None)
    description: dict[str, Any] = {"model": {"type": "slow"}} if fast is None else json.loads(fast.to_str())
    kind = description["model"]["type"]
    if kind != "WordPiece":
        raise UserError(
            f"the tokenizer in {folder} is of type {kind}, which cuts texts otherwise once tokens are missing: only "
            "WordPiece vocabularies can be pruned."
        )
    return description


def _cut(tokenizer: Any, sentences: Sequence[str]) -> Iterable[list[int]]:
    """Each text's ids, uncut, in order."""
    for start in range(0, len(sentences), BATCH):
        # Without truncation a text may be longer than the model reads, of which there is no need to hear.
        yield from tokenizer(list(sentences[start : start + BATCH]), truncation=False, verbose=False)["input_ids"]


def _always(description: dict[str, Any]) -> set[int]:
    """Ids that any pruning keeps: added tokens, the unknown one, single characters, and pieces that need no less."""
    model = description["model"]
    vocabulary: dict[str, int] = model["vocab"]
    prefix: str = model["continuing_subword_prefix"]
    kept = {token["id"] for token in description["added_tokens"]} | {vocabulary[model["unk_token"]]}
    for piece, number in vocabulary.items():
        if piece.startswith(PLACEHOLDERS):
            continue
        inside = piece.startswith(prefix) and piece != prefix
        letters = piece[len(prefix) :] if inside else piece
        # From the second letter on they stand inside a word, as do all of a piece with the prefix.
        singles = [letter if place == 0 and not inside else prefix + letter for place, letter in enumerate(letters)]
        if len(letters) == 1 or not all(single in vocabulary for single in singles):
            kept.add(number)
    return kept


def _rewrite(folder: Path, description: dict[str, Any], kept_ids: Sequence[int]) -> None:
    """Make the tokenizer files in `folder` those of the kept tokens."""
    new_ids = {old: new for new, old in enumerate(kept_ids)}
    vocabulary = description["model"]["vocab"]
    pieces = sorted((new_ids[old], piece) for piece, old in vocabulary.items() if old in new_ids)
    model = {**description["model"], "vocab": {piece: new for new, piece in pieces}}
    added = [{**token, "id": new_ids[token["id"]]} for token in description["added_tokens"]]
    framing = _framing(description["post_processor"], new_ids)
    padding = description["padding"] and {**description["padding"], "pad_id": new_ids[description["padding"]["pad_id"]]}
    changed = {"model": model, "added_tokens": added, "post_processor": framing, "padding": padding}
    write_json_atomic(folder / "tokenizer.json", {**description, **changed})
    # The plain list is what other runtimes read; added tokens that are in no list have the last ids.
    write_bytes_atomic(folder / "vocab.txt", "".join(f"{piece}\n" for _, piece in pieces).encode())
    settings_file = folder / "tokenizer_config.json"
    settings = read_json(settings_file, "tokenizer's config")
    if "added_tokens_decoder" in settings:
        decoder = settings["added_tokens_decoder"]
        settings["added_tokens_decoder"] = {str(new_ids[int(old)]): token for old, token in decoder.items()}
        write_json_atomic(settings_file, settings)


def _framing(processor: dict[str, Any] | None, new_ids: dict[int, int]) -> dict[str, Any] | None:
    """A tokenizer's post-processor with new ids."""
    if processor is None:
        return None
    changed = dict(processor)
    for name in ("sep", "cls"):
        if name in changed:
            token, old = changed[name]
            changed[name] = [token, new_ids[old]]
    if "special_tokens" in changed:
        changed["special_tokens"] = {
            token: {**entry, "ids": [new_ids[old] for old in entry["ids"]]}
            for token, entry in changed["special_tokens"].items()
        }
    return changed


def _check_same(whole: Any, pruned: Any, sentences: Sequence[str], kept_ids: Sequence[int]) -> None:
    """Raise `UserError` unless the pruned tokenizer cuts the texts as the whole one does."""
    for text, old, new in zip(sentences, _cut(whole, sentences), _cut(pruned, sentences), strict=True):
        if old != [kept_ids[number] for number in new]:
            raise UserError(f"this tokenizer cannot be pruned: without some tokens {text[:40]!r} is cut otherwise.")


def _check_free(output: Path) -> None:
    """Raise `UserError` unless `output` is new, empty, or an earlier pruned checkpoint."""
    used = output.is_file() or (output.is_dir() and any(output.iterdir()) and not (output / PRUNED_FILE).is_file())
    if used:
        raise UserError(f"{output} is in use: name a new or empty folder for the pruned checkpoint.")
