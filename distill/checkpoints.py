"""Checkpoint folders: their tokenizer, and the hash of what decides a model's answers."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import AutoTokenizer

from runs.errors import UserError
from runs.files import content_hash, file_sha256

DECIDING = (".safetensors", ".bin", ".json", ".txt", ".model", ".gguf")
"""Endings of weights, config and tokenizer files."""
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "tokenizer.model")


def gguf_of(folder: Path) -> dict[str, str]:
    """What `transformers` must be told of a folder that is one GGUF file, model and tokenizer in one; else nothing."""
    files = [] if (folder / "config.json").is_file() else list(folder.glob("*.gguf"))
    return {"gguf_file": files[0].name} if len(files) == 1 else {}


def has_tokenizer(folder: Path) -> bool:
    """Whether there is a tokenizer in a checkpoint folder."""
    return bool(gguf_of(folder)) or any((folder / name).is_file() for name in TOKENIZER_FILES)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in a checkpoint folder; `UserError` where there is none."""
    gguf = gguf_of(folder)
    if not has_tokenizer(folder):
        # Without one of these the library makes up a tokenizer that knows no words.
        raise UserError(f"{folder} has no tokenizer ({' or '.join(TOKENIZER_FILES)}): save it beside the model.")
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **gguf)
    except (OSError, ValueError) as problem:
        reason = str(problem).splitlines()[0].rstrip(".")
        raise UserError(f"{folder} has no tokenizer that can be read ({reason}): save one beside the model.") from None


def weights_hash(folder: Path) -> str:
    """Hash of everything in a checkpoint folder that decides what the model answers."""
    files = sorted(path for path in folder.iterdir() if path.suffix in DECIDING)
    return content_hash({path.name: file_sha256(path) for path in files}, 16)


def has_whole_weights(folder: Path) -> bool:
    """Whether the folder's weights are there and as long as they say, which a damaged disk may have changed."""
    files = sorted(folder.glob("*.safetensors"))
    try:
        for path in files:
            with safe_open(path, framework="pt"):
                pass
    except (OSError, SafetensorError):
        return False
    return bool(files)
