"""Raw samples on disk as they come: SQLite, one row a sample, none twice."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from devices.fingerprint import Fingerprint
from devices.measurement import Sample
from devices.workload import Workload
from runs.errors import UserError

STORE_SCHEMA = 1

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
        # A commit a sample must neither wait for the disk in the middle of a measurement nor tear on a power cut.
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        if version == 0:
            self._connection.executescript(f"BEGIN; {TABLES} PRAGMA user_version={STORE_SCHEMA}; COMMIT;")

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
        self._connection.execute("INSERT OR REPLACE INTO facts VALUES ('fingerprint', ?)", (text,))

    def add_items(self, items: Mapping[str, dict[str, Any]]) -> None:
        """Key → JSON description of what is measured under that key; known keys stay."""
        rows = [(key, json.dumps(value)) for key, value in items.items()]
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
        self._connection.execute("BEGIN")
        try:
            self._connection.execute("INSERT OR IGNORE INTO workloads VALUES (?, ?)", workload)
            row = (sample.key, workload[0], sample.process, sample.round, sample.milliseconds, sample.taken_at)
            self._connection.execute("INSERT INTO samples VALUES (?, ?, ?, ?, ?, ?)", row)
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def samples(self, keys: Iterable[str] | None = None) -> list[Sample]:
        """Every sample, or those of `keys`, in the order they were taken."""
        wanted = None if keys is None else set(keys)
        workloads = {
            key: Workload(**json.loads(text)) for key, text in self._connection.execute("SELECT * FROM workloads")
        }
        rows = self._connection.execute("SELECT * FROM samples ORDER BY rowid")
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
