"""Raw samples on disk as they come: SQLite, one row a sample, none twice."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from devices.fingerprint import Fingerprint
from devices.measurement import Sample, Turn
from devices.workload import Workload
from runs.errors import UserError

STORE_SCHEMA = 2

TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE items (key TEXT PRIMARY KEY, json TEXT NOT NULL);
CREATE TABLE workloads (key TEXT PRIMARY KEY, json TEXT NOT NULL);
CREATE TABLE samples (
    key TEXT NOT NULL, workload TEXT NOT NULL, process INTEGER NOT NULL, round INTEGER NOT NULL,
    milliseconds REAL NOT NULL, taken_at REAL NOT NULL,
    UNIQUE (key, workload, process, round)
);
"""

TURNS_TABLE = "CREATE TABLE turns (process INTEGER NOT NULL, started_at REAL NOT NULL, json TEXT NOT NULL);"
"""What schema 2 has and schema 1 had not."""

NO_ROOM = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_SHMSIZE,
)
"""Errors of SQLite by which a full disk or a quota shows."""

IN_MEMORY = ":memory:"


class SampleStore:
    """The samples of one profile, with the JSON of every item measured and the fingerprint of what measured it.

    Opens or makes the file at `path` (`IN_MEMORY` for none). A file of a newer schema, or one that is not such a
    store, is a `UserError` and left as it is. Read-only, the file must be there, and many processes may read at once.
    """

    def __init__(self, path: Path | str, *, read_only: bool = False) -> None:
        self.path = path
        self._read_only = read_only
        if read_only and not Path(path).is_file():
            raise UserError(f"the sample store {path} does not exist: profile the device again.")
        where = f"{Path(path).absolute().as_uri()}?mode=ro" if read_only else path
        self._connection = sqlite3.connect(where, isolation_level=None, uri=read_only)
        try:
            self._open()
        except sqlite3.DatabaseError as problem:
            self._connection.close()
            raise UserError(
                f"{path} is not a whole sample store ({problem}): delete it and profile the device again."
            ) from problem
        except BaseException:
            self._connection.close()
            raise

    def _open(self) -> None:
        [(version,)] = self._connection.execute("PRAGMA user_version")
        [(tables,)] = self._connection.execute("SELECT count(*) FROM sqlite_master")
        if version > STORE_SCHEMA:
            raise UserError(f"{self.path} was written by a newer version (schema {version}): update tailorbird.")
        if version == 0 and tables:
            raise UserError(f"{self.path} is a database of something else: choose another folder.")
        if self._read_only:
            return
        with self._writing():
            # A commit a sample must neither wait for the disk in the middle of a measurement nor tear on a power cut.
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            if version < STORE_SCHEMA:
                fresh = TABLES if version == 0 else ""
                self._connection.executescript(
                    f"BEGIN; {fresh} {TURNS_TABLE} PRAGMA user_version={STORE_SCHEMA}; COMMIT;"
                )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Undo what was begun if it fails; a disk without room is a `UserError`, and what is stored stays so."""
        try:
            yield
        except BaseException as problem:
            # SQLite itself has undone it where there was no room.
            if self._connection.in_transaction:
                with suppress(sqlite3.OperationalError):
                    self._connection.execute("ROLLBACK")
            if isinstance(problem, sqlite3.OperationalError) and problem.sqlite_errorcode in NO_ROOM:
                raise UserError(
                    f"no room is left to write to {self.path} ({problem}): free some space on that disk and run the "
                    "same command again, it goes on where it was."
                ) from problem
            raise

    def close(self) -> None:
        """Fold the write-ahead log into the one file, so that it can be copied and read from a read-only folder.

        While somebody else looks into the file that has to wait for the next close; nothing is lost by it.
        """
        try:
            if not self._read_only:
                with suppress(sqlite3.OperationalError):
                    self._connection.execute("PRAGMA journal_mode=DELETE")
        finally:
            self._connection.close()

    def __enter__(self) -> "SampleStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def fingerprint(self) -> Fingerprint | None:
        """Of what measured; None in a fresh store."""
        with closing(self._connection.execute("SELECT value FROM facts WHERE name='fingerprint'")) as rows:
            row = rows.fetchone()
        return Fingerprint.from_json(json.loads(row[0])) if row else None

    def set_fingerprint(self, value: Fingerprint) -> None:
        """Write it, or replace what was there."""
        text = json.dumps(value.to_json())
        with self._writing():
            self._connection.execute("INSERT OR REPLACE INTO facts VALUES ('fingerprint', ?)", (text,))

    def add_items(self, items: Mapping[str, dict[str, Any]]) -> None:
        """Key → JSON description of what is measured under that key; known keys stay."""
        rows = [(key, json.dumps(value)) for key, value in items.items()]
        with self._writing():
            self._connection.execute("BEGIN")
            self._connection.executemany("INSERT OR IGNORE INTO items VALUES (?, ?)", rows)
            self._connection.execute("COMMIT")

    def items(self) -> dict[str, dict[str, Any]]:
        """Key → JSON description, in the order they were added."""
        rows = self._connection.execute("SELECT key, json FROM items ORDER BY rowid")
        return {key: json.loads(text) for key, text in rows}

    def add(self, sample: Sample) -> None:
        """Write one sample at once; a sample of the same (key, workload, process, round) is refused."""
        workload = (sample.workload.key, json.dumps(sample.workload.to_json()))
        row = (sample.key, workload[0], sample.process, sample.round, sample.milliseconds, sample.taken_at)
        with self._writing():
            self._connection.execute("BEGIN")
            self._connection.execute("INSERT OR IGNORE INTO workloads VALUES (?, ?)", workload)
            self._connection.execute("INSERT INTO samples VALUES (?, ?, ?, ?, ?, ?)", row)
            self._connection.execute("COMMIT")

    def add_turn(self, turn: Turn) -> None:
        """Write down what became of a turn."""
        with self._writing():
            row = (turn.process, turn.started_at, json.dumps(turn.to_json()))
            self._connection.execute("INSERT INTO turns VALUES (?, ?, ?)", row)

    def turns(self) -> list[Turn]:
        """Every turn in the order they ended; none in a store of a version that did not keep them."""
        [(tables,)] = self._connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'turns'")
        rows = self._connection.execute("SELECT json FROM turns ORDER BY rowid") if tables else ()
        return [Turn(**json.loads(text)) for (text,) in rows]

    def samples(self, keys: Iterable[str] | None = None) -> list[Sample]:
        """Every sample, or those of `keys`, in the order they were taken."""
        wanted = None if keys is None else set(keys)
        # Samples first: a workload is written before its samples, and another process may be writing.
        rows = self._connection.execute("SELECT * FROM samples ORDER BY rowid").fetchall()
        workloads = {
            key: Workload(**json.loads(text)) for key, text in self._connection.execute("SELECT * FROM workloads")
        }
        return [
            Sample(key, workloads[workload], process, number, milliseconds, taken_at)
            for key, workload, process, number, milliseconds, taken_at in rows
            if wanted is None or key in wanted
        ]

    def rounds(self, workload: Workload, process: int) -> dict[str, set[int]]:
        """Key → the rounds stored for it in this workload and process."""
        query = "SELECT key, round FROM samples WHERE workload = ? AND process = ?"
        found: dict[str, set[int]] = {}
        for key, number in self._connection.execute(query, (workload.key, process)):
            found.setdefault(key, set()).add(number)
        return found
