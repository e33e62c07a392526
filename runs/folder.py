"""A run's folder: locked while in use, bound to its settings, remembering finished stages, so that a run can resume."""

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from filelock import FileLock, Timeout

from runs.errors import UserError
from runs.files import read_json, write_json_atomic

SCHEMA = 1
RUN_FILE = "run.json"
LOCK_FILE = ".lock"


class RunFolder:
    """An open run: its folder, its settings, and the results of the stages that have ended. Made by `open_run`."""

    def __init__(self, path: Path, record: dict[str, Any]) -> None:
        self.path = path
        self._record = record

    @property
    def settings(self) -> dict[str, Any]:
        """What the run was started with, as JSON knows it (a tuple has become a list); a copy."""
        settings: dict[str, Any] = copy.deepcopy(self._record["settings"])
        return settings

    def result(self, name: str) -> dict[str, Any] | None:
        """What stage `name` returned, as a copy; None while it has not ended."""
        stage = self._record["stages"].get(name)
        return None if stage is None else copy.deepcopy(stage["result"])

    def stages(self) -> list[str]:
        """The names of the stages that have ended, in that order."""
        return list(self._record["stages"])

    def seconds(self, name: str) -> float:
        """How long the attempt that ended stage `name` took, in seconds; 0 while it has not ended."""
        stage = self._record["stages"].get(name)
        return 0.0 if stage is None else float(stage["seconds"])

    def stage(self, name: str, function: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The stored result of stage `name`, or the one of `function()`, stored before it is returned.

        A fresh result passes through JSON too, so that a resumed run sees exactly what an undisturbed one does. An
        exception of `function` leaves the stage open.
        """
        if name not in self._record["stages"]:
            start = perf_counter()
            result = _as_json(function())
            stage = {"seconds": round(perf_counter() - start, 3), "result": result}
            record = {**self._record, "stages": {**self._record["stages"], name: stage}}
            write_json_atomic(self.path / RUN_FILE, record)
            self._record = record
        stored = self.result(name)
        assert stored is not None
        return stored


@contextmanager
def open_run(path: Path | str, kind: str, settings: dict[str, Any]) -> Iterator[RunFolder]:
    """Begin the run `kind` with `settings` in folder `path`, or go on with it; locked until the block ends.

    Raises `UserError`, with nothing written, where the folder is another run's, is of other settings or a newer
    schema, holds files but no run, is in use by another process, or cannot be written to.
    """
    path = Path(path).absolute()
    settings = _as_json(settings)
    _read_record(path, kind, settings)  # before the lock, which is a file and must not be left in a stranger's folder
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / LOCK_FILE, timeout=0)
        lock.acquire()
    except Timeout:
        raise UserError(
            f"the folder {path} is in use by another process: wait for it, or give another --output."
        ) from None
    except OSError as problem:
        raise UserError(f"cannot write to the folder {path} ({problem.strerror}): give another --output.") from None
    try:
        for leftover in path.glob(f".{RUN_FILE}.*.part"):
            leftover.unlink(missing_ok=True)  # a kill in the middle of an atomic write leaves one
        record = _read_record(path, kind, settings)
        if record is None:
            record = {"kind": kind, "schema": SCHEMA, "settings": settings, "stages": {}}
            write_json_atomic(path / RUN_FILE, record)
        yield RunFolder(path, record)
    finally:
        lock.release()


def read_run(path: Path | str, kind: str, option: str) -> RunFolder:
    """The run `kind` in folder `path` as it stands, to be looked at alone: it is neither locked nor written to.

    Raises `UserError`, which names the `option` that asked for it, where there is none.
    """
    path = Path(path).absolute()
    if not (path / RUN_FILE).is_file():
        raise UserError(f"{option} names {path}, which is no run folder: it holds no {RUN_FILE}.")
    record = read_json(path / RUN_FILE, "run file")
    _check_record(path, record, kind, f"give {option} another folder")
    return RunFolder(path, record)


def _read_record(path: Path, kind: str, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The folder's run.json, checked; None where the folder is missing or still empty."""
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file, not a folder: give another --output.")
    if not (path / RUN_FILE).exists():
        if path.exists() and not all(_is_ours(entry.name) for entry in path.iterdir()):
            raise UserError(
                f"the folder {path} belongs to something else: it holds files but no {RUN_FILE}; give another --output."
            )
        return None
    record: dict[str, Any] = read_json(path / RUN_FILE, "run file")
    _check_record(path, record, kind, "give another --output")
    difference = _first_difference(record["settings"], settings)
    if difference is not None:
        raise UserError(
            f"the folder {path} has the {kind} of other settings ({difference}): give the same settings to go on, or "
            "another --output."
        )
    return record


def _check_record(path: Path, record: Any, kind: str, remedy: str) -> None:
    """Raise `UserError` for a run.json that is none of this kind and schema."""
    if not isinstance(record, dict) or not {"kind", "schema", "settings", "stages"} <= record.keys():
        raise UserError(f"{path / RUN_FILE} is not a run file of tailorbird: {remedy}.")
    if record["schema"] != SCHEMA:
        raise UserError(
            f"{path / RUN_FILE} has schema {record['schema']}, this version reads {SCHEMA}: use the version of "
            f"tailorbird that began it, or {remedy}."
        )
    if record["kind"] != kind:
        raise UserError(f"the folder {path} is one of kind {record['kind']!r}, not {kind!r}: {remedy}.")


def _is_ours(name: str) -> bool:
    """Whether a killed start of `open_run` may have left a file of this name."""
    return name == LOCK_FILE or (name.startswith(f".{RUN_FILE}.") and name.endswith(".part"))


def _first_difference(stored: Any, given: Any, where: str = "") -> str | None:
    """`name: stored value there, given value here` of the first setting that differs; None where all are equal."""
    if stored == given:
        return None
    if not (isinstance(stored, dict) and isinstance(given, dict)):
        return f"{where} is {_show(stored)} there and {_show(given)} here"
    for key in [*stored, *(key for key in given if key not in stored)]:
        name = f"{where}.{key}" if where else str(key)
        if key not in given or key not in stored:
            there, here = (_show(side[key]) if key in side else "not set" for side in (stored, given))
            return f"{name} is {there} there and {here} here"
        difference = _first_difference(stored[key], given[key], name)
        if difference is not None:
            return difference
    return None


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."


def _as_json(value: dict[str, Any]) -> dict[str, Any]:
    """`value` as it comes back from a JSON file."""
    read: dict[str, Any] = json.loads(json.dumps(value, allow_nan=False))
    return read
