"""Folders whose files were all written: a seal names each of them with its hash, so that damage shows later."""

from pathlib import Path

from runs.errors import UserError
from runs.files import file_sha256, read_json, write_json_atomic


def _hashes(folder: Path, seal: str) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != seal)
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}


def seal_folder(folder: Path, name: str) -> None:
    """Write the file `name` into `folder`, last of all: what else is there now, by its SHA-256."""
    write_json_atomic(folder / name, _hashes(folder, name))


def is_sealed(folder: Path, name: str) -> bool:
    """Whether the folder was sealed, and every file is as it was then."""
    try:
        stored = read_json(folder / name)
    except (UserError, OSError):
        return False
    return bool(stored == _hashes(folder, name))
