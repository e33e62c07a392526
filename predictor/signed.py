"""JSON files that carry their kind, schema number and checksum, so that none is read by mistake."""

import json
from pathlib import Path
from typing import Any

from runs.errors import UserError
from runs.files import content_hash, read_json, write_bytes_atomic

CHECKSUM_DIGITS = 64


def write_signed(path: Path, kind: str, schema: int, content: dict[str, Any]) -> None:
    """Write `content` atomically beneath its kind, schema and SHA-256."""
    value = {"kind": kind, "schema": schema, "sha256": content_hash(content, CHECKSUM_DIGITS), "content": content}
    write_bytes_atomic(path, (json.dumps(value, allow_nan=False, separators=(",", ":")) + "\n").encode())


def read_signed(path: Path, kind: str, schema: int) -> dict[str, Any]:
    """The content; a `UserError` for a file that is missing, cut short, of another kind or schema, or edited."""
    value = read_json(path, kind)
    if not isinstance(value, dict) or value.get("kind") != kind:
        raise UserError(f"{path} is not a {kind}: name the file that profile-device wrote.")
    found = value.get("schema")
    if found != schema:
        raise UserError(f"the {kind} {path} has schema {found}, this version reads {schema}: profile the device again.")
    content = value.get("content")
    if not isinstance(content, dict) or value.get("sha256") != content_hash(content, CHECKSUM_DIGITS):
        raise UserError(f"the {kind} {path} was changed after it was written: profile the device again.")
    return content
