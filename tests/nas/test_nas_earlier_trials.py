"""Searches that learn from earlier ones of the same data and space, and what is refused."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from nas_synthetic import MEMBERS, problem, quality
from scipy.stats import spearmanr
from tiny_kinds import write
from tiny_search import QUIET, SPACE, tiny_search

from nas.controllers.pool import draw_pool
from nas.earlier_trials import read_trials, trials_from_json
from nas.methods import LEARNED, METHODS
from nas.proxies import PROXIES, Tryout
from nas.search import SearchSettings, search
from runs.errors import UserError
from runs.files import read_json, write_json_atomic
from runs.folder import RUN_FILE
from students.space import space


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as one:
        yield one


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch) -> SearchSettings:
    """A finished search."""
    root = tmp_path_factory.mktemp("earlier")
    settings = tiny_search(root, patch, SPACE)
    settings = replace(settings, data=str(write("classification", root)), method="random")
    search(settings, QUIET)
    return settings


def trials_of(folder: Path) -> list[dict[str, object]]:
    stages = read_json(folder / RUN_FILE)["stages"]
    return [trial for name, stage in stages.items() if name.endswith(" search") for trial in stage["result"]["trials"]]


def test_nothing_is_trained_for_a_candidate_that_is_foretold(earlier: SearchSettings, tmp_path: Path) -> None:
    known = earlier.folder()
    settings = replace(earlier, method="learned", learn_from=(known,), output=tmp_path / "run", budgets_ms=(1.2,))
    # What it learnt it keeps, whatever becomes of the earlier run.
    gone = tmp_path / "gone"
    shutil.copytree(known, gone)
    settings = replace(settings, learn_from=(gone,))
    (verdict,) = search(settings, QUIET)
    assert verdict["within_budget"] and verdict["parity"]["max_abs_error"] <= 1e-4
    assert set(verdict["schedule"]) == {"episodes", "candidates", "final_steps", "learnt_from"}
    assert verdict["schedule"]["learnt_from"] == len(trials_of(known)) == 3
    assert all("steps" not in trial["details"] for trial in trials_of(settings.folder()))  # type: ignore[operator]
    assert "foretold from 3 of earlier searches" in (Path(verdict["folder"]) / "student/README.md").read_text()
    shutil.rmtree(gone)
    record = read_json(settings.folder() / RUN_FILE)
    del record["stages"]["verdicts"]
    write_json_atomic(settings.folder() / RUN_FILE, record)
    assert search(settings, QUIET) == [verdict]


def test_the_ridge_begins_with_what_was_found(earlier: SearchSettings, tmp_path: Path) -> None:
    settings = replace(earlier, method="ridge", learn_from=(earlier.folder(),), output=tmp_path / "run")
    (verdict,) = search(settings, QUIET)
    assert verdict["schedule"]["learnt_from"] == 3 and verdict["schedule"]["steps"] > 0
    (stage,) = [
        stage["result"]
        for name, stage in read_json(settings.folder() / RUN_FILE)["stages"].items()
        if name.endswith(" search")
    ]
    assert stage["episodes"][0]["ridge_rho"] is not None, "it foretold its very first episode"


class TestBadInput:
    """One sentence, and neither run is touched."""

    def refused(self, settings: SearchSettings, words: str) -> None:
        before = (settings.learn_from[0] / RUN_FILE).read_bytes() if settings.learn_from else b""
        with pytest.raises(UserError, match=words):
            search(settings, QUIET)
        assert not settings.folder().exists() or settings.folder() in settings.learn_from
        assert not settings.learn_from or (settings.learn_from[0] / RUN_FILE).read_bytes() == before

    def test_what_cannot_learn_or_has_nothing_to(self, earlier: SearchSettings, tmp_path: Path) -> None:
        settings = replace(earlier, output=tmp_path / "run")
        self.refused(replace(settings, method="learned"), "name its run folder with --learn-from")
        self.refused(
            replace(settings, method="kd-nas", learn_from=(earlier.folder(),)), "leave --learn-from away, or choose"
        )
        own = replace(settings, method="ridge", learn_from=(earlier.folder(),), output=earlier.folder())
        self.refused(own, "names the search's own folder")

    def test_runs_that_say_nothing(self, earlier: SearchSettings, tmp_path: Path) -> None:
        settings = replace(earlier, method="ridge", output=tmp_path / "run")
        with pytest.raises(UserError, match="is no run folder: it holds no run.json"):
            search(replace(settings, learn_from=(tmp_path / "nowhere",)), QUIET)
        for name, change, words in (
            ("kind", {"kind": "profile"}, "one of kind 'profile', not 'search': give --learn-from another folder"),
            ("space", {"settings": {"space": "/else/where.yaml"}}, "of the space where, and this one is of space"),
            ("data", {"stages": {"data": {"seconds": 0, "result": {"content_hash": "x"}}}}, "of other data than this"),
            ("begun", {"stages": {}}, "has not tried all candidates of any budget yet"),
        ):
            record = read_json(earlier.folder() / RUN_FILE)
            folder = tmp_path / name
            folder.mkdir()
            changed = {**record, **change, "settings": {**record["settings"], **change.get("settings", {})}}  # type: ignore[dict-item]
            write_json_atomic(folder / RUN_FILE, changed)
            self.refused(replace(settings, learn_from=(folder,)), words)

    def test_a_space_that_changed(self, earlier: SearchSettings, tmp_path: Path) -> None:
        """Codes that are members of both say other things in each."""
        file = tmp_path / "space.yaml"
        file.write_text(SPACE.replace("ffn: [16, 32, 48]", "ffn: [16, 32, 40]"))
        settings = replace(earlier, method="ridge", space=str(file), learn_from=(earlier.folder(),))
        stored = read_json(earlier.folder() / RUN_FILE)["stages"]["data"]["result"]["content_hash"]
        with pytest.raises(UserError, match="of another space than what space is now"):
            read_trials(settings, stored)
        twice = replace(settings, space=earlier.space, learn_from=(earlier.folder(), earlier.folder()))
        assert len(read_trials(twice, stored)) == 1

    def test_what_was_foretold_itself_is_no_lesson(self, earlier: SearchSettings, tmp_path: Path) -> None:
        record = read_json(earlier.folder() / RUN_FILE)
        (tmp_path / "echo").mkdir()
        changed = {**record, "settings": {**record["settings"], "method": "learned"}}
        write_json_atomic(tmp_path / "echo" / RUN_FILE, changed)
        self.refused(
            replace(earlier, method="ridge", learn_from=(tmp_path / "echo",), output=tmp_path / "run"),
            "foretold them from other searches: name those",
        )


def test_the_proxy_foretells_another_budget() -> None:
    known, asked = (problem(budget_ms) for budget_ms in (8.0, 4.0))
    rng = np.random.default_rng(0)
    seen, fresh = (draw_pool(one, 40, [], rng).codes[:40] for one in (known, asked))
    lessons = ((seen, tuple(quality(known.space, seen).tolist())),)
    tryout = Tryout(None, None, None, 0, 1.0, 0, space=asked.space, known=lessons)  # type: ignore[arg-type]
    found = [PROXIES[LEARNED](spec, tryout) for spec in asked.space.decode(fresh, **MEMBERS)]  # type: ignore[arg-type]
    assert all(0 < score.loss < 1 for score in found)
    assert spearmanr([-score.loss for score in found], quality(asked.space, fresh)).statistic > 0.5


@pytest.mark.parametrize("name", ["compact", "mixed", "kd-nas"])
def test_the_proxy_sees_every_gene(name: str) -> None:
    """Words, sharing, types and activations too, whatever the space has of them."""
    members = space(name)
    codes = members.sample(400, np.random.default_rng(0))
    specs = members.decode(codes, **MEMBERS)  # type: ignore[arg-type]
    worth = {
        "compact": lambda spec: float(np.log(spec.embedding_width)) - 3.0 * (spec.sharing is not None),
        "mixed": lambda spec: float(sum(layer.type == "convolution" for layer in spec.layers)) / len(spec.layers),
        "kd-nas": lambda spec: float(spec.layers[0].activation == "gelu"),
    }[name]
    rewards = [worth(spec) for spec in specs]
    known = ((codes[:200], tuple(rewards[:200])),)
    tryout = Tryout(None, None, None, 0, 1.0, 0, space=members, known=known)  # type: ignore[arg-type]
    found = [-PROXIES[LEARNED](spec, tryout).loss for spec in specs[200:]]
    assert spearmanr(found, rewards[200:]).statistic > 0.6


def test_a_lesson_comes_back_as_it_was() -> None:
    lesson = trials_from_json({"trials": [{"codes": [1, 2], "reward": 0.5}, {"codes": [3, 4], "reward": 0.25}]})
    again = trials_from_json(lesson.to_json())
    assert again.codes.tolist() == [[1, 2], [3, 4]] and again.rewards == (0.5, 0.25)
    assert METHODS["learned"].learns and METHODS["ridge"].learns and not METHODS["kd-nas"].learns
