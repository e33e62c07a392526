"""Files that are either whole or not there: atomic writes, canonical JSON, content hashes."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from runs.errors import UserError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where a disk is full or a quota is used up."""


@contextmanager
def _room_for(path: Path) -> Iterator[None]:
    """Say in one sentence that a disk is full."""
    try:
        yield
    except OSError as problem:
        if problem.errno not in NO_ROOM:
            raise
        raise UserError(
            f"no room is left to write {path} ({problem.strerror}): free some space on that disk and run the same "
            "command again, it goes on where it was."
        ) from problem


def write_bytes_atomic(path: Path, data: bytes) -> None:
    """Write `data` so that a reader, or a kill at any moment, sees the old file or the new one, never a part.

    A full disk is a `UserError`.
    """
    with _room_for(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def write_json_atomic(path: Path, value: Any) -> None:
    """Write `value` as indented JSON; NaN and infinity are refused, since JSON has no word for them."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes_atomic(path, text.encode())


def read_json(path: Path, what: str = "file") -> Any:
    """Read JSON; a missing or cut-short file is a `UserError` that names it as `what`."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"the {what} {path} does not exist.") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise UserError(
            f"the {what} {path} is not whole JSON: delete it, or make it again with the command that wrote it."
        ) from None


def read_yaml(path: Path, what: str = "file") -> Any:
    """Read YAML; a file that is missing or none is a `UserError` that names it as `what`."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"the {what} {path} does not exist.") from None
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        line = f" in line {mark.line + 1}" if mark else ""
        raise UserError(f"the {what} {path} cannot be read as YAML: {problem.problem}{line}.") from None
    except (yaml.YAMLError, ValueError, OSError):
        raise UserError(f"the {what} {path} cannot be read as YAML.") from None


def content_hash(value: Any, length: int = 12) -> str:
    """Hash of a JSON-able value that does not depend on key order or spacing."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


@contextmanager
def folder_atomic(path: Path) -> Iterator[Path]:
    """Yield a scratch folder beside `path` that takes its place when the block ends well, and vanishes otherwise.

    An older folder at `path` is replaced as a whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    try:
        yield scratch
        if path.exists():
            retired = scratch.with_suffix(".old")
            os.replace(path, retired)
            os.replace(scratch, path)
            shutil.rmtree(retired)
        else:
            os.replace(scratch, path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def remove_leftovers(path: Path) -> None:
    """Remove what a kill in the middle of `folder_atomic(path)` left; nobody else may be writing that folder."""
    for leftover in path.parent.glob(f".{path.name}.*.part"):
        shutil.rmtree(leftover, ignore_errors=True)
