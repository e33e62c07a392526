"""Where things that outlive one run are kept: device profiles, fine-tuned teachers, fetched packages."""

import os
from pathlib import Path

import platformdirs

from runs.errors import UserError
from runs.registry import unknown_name

HOME_VARIABLE = "TAILORBIRD_HOME"
KINDS = ("profiles", "teachers", "packages")


def home() -> Path:
    """`$TAILORBIRD_HOME` where it is set and not empty, else the platform's user data folder; it need not exist yet."""
    chosen = os.environ.get(HOME_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    return Path(platformdirs.user_data_dir("tailorbird", appauthor=False))


def home_folder(kind: str) -> Path:
    """The home's folder for one of `KINDS`, made if it is missing; a `UserError` where it cannot be made."""
    if kind not in KINDS:
        raise unknown_name("home folder", kind, list(KINDS))
    folder = home() / kind
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise UserError(
            f"cannot make the folder {folder} ({problem.strerror}): set {HOME_VARIABLE} to a folder you can write to."
        ) from None
    return folder
