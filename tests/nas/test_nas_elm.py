"""ELM's search from data to a verified export: its supernet grows, and the student lies within what it grew to."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from tiny_kinds import write
from tiny_search import QUIET, TINY, tiny_search

from distill.growth import Growth
from distill.recipe_file import RECIPES
from distill.supernet import caps_of
from nas.members import Members
from nas.methods import ELM, METHODS
from nas.schedule import EFFORTS
from nas.scoring import Scoring
from nas.search import SearchSettings, search
from nas.supernet_work import confined, growing, supernet_steps
from profiler.profile import load_profile
from runs.errors import UserError
from runs.files import read_json
from students.space import SearchSpace, space
from students.spec import Head, StudentSpec

SPACE = """\
layers: [1, 2]
hidden: [24]
activation: [gelu]
alike: false
heads: [1, 2, 4]
qkv: [6 per head]
ffn: [16, 32, 48]
types: [transformer, narrow bottleneck to 1/2]
sharing: [1, 2]
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SearchSettings:
    found = tiny_search(tmp_path, monkeypatch, SPACE)
    monkeypatch.setitem(EFFORTS._entries, TINY.name, replace(TINY, supernet_steps=8, episodes=2))
    return replace(found, data=str(write("classification", tmp_path)), method="elm")


def grown(settings: SearchSettings) -> SearchSpace:
    return replace(space(settings.space_name), caps=caps_of(settings.folder() / "supernet"))


def test_from_data_to_a_student_within_what_it_grew_to(settings: SearchSettings) -> None:
    (verdict,) = search(settings, QUIET)
    assert verdict["within_budget"] and verdict["parity"]["max_abs_error"] <= 1e-4
    assert verdict["schedule"]["supernet_steps"] == 3 * 8 and verdict["schedule"]["candidates"] > TINY.candidates
    members = grown(settings)
    assert members.caps is not None and {ffn for place in members.caps.ffn for ffn in place} != {16}
    assert members.valid(members.encode([StudentSpec.from_json(verdict["student"]["spec"])])).all()
    assert "caps" in str(read_json(settings.folder() / "run.json", "record"))
    assert search(settings, QUIET)[0]["score"] == verdict["score"], "finished, and read"


def test_heads_that_are_alike_are_given_up(settings: SearchSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here all are: the student is found among those of fewer heads than the search began with."""
    monkeypatch.setitem(METHODS._entries, "elm", replace(ELM, growth=Growth(alike=-1.0)))
    (verdict,) = search(settings, QUIET)
    assert {heads for place in grown(settings).caps.heads for heads in place} == {1}  # type: ignore[union-attr]
    assert {layer["heads"] for layer in verdict["student"]["spec"]["layers"]} == {1}


def test_each_variant_leaves_out_one_idea() -> None:
    rest = {name: METHODS[name] for name in METHODS if name.startswith("elm-")}
    whole = asdict(ELM)
    changed = {name: [key for key, value in asdict(one).items() if value != whole[key]] for name, one in rest.items()}
    assert changed == {
        "elm-fixed-dimension": ["name", "growth"],
        "elm-fixed-heads": ["name", "growth"],
        "elm-plain-features": ["name", "recipe"],
    }
    assert rest["elm-fixed-dimension"].growth == Growth(dimension=False)
    assert rest["elm-fixed-heads"].growth == Growth(heads=False)
    kinds = [{term.objective for term in RECIPES[name].terms} for name in ("elm", "elm-plain")]
    assert kinds == [{"elm-output", "elm-attention", "logits-dist"}, {"hidden", "attention-output", "logits-dist"}]


def test_of_masked_words(settings: SearchSettings, tmp_path: Path) -> None:
    """A student that no task has decided: its encoder keeps the budget."""
    texts = write("masked-lm", tmp_path)
    (verdict,) = search(replace(settings, data=str(texts), task="masked-lm"), QUIET)
    assert (
        verdict["within_budget"]
        and verdict["task"] == "masked-lm"
        and verdict["score"]["metric"] == "inverse_perplexity"
    )


def test_a_target_says_how_far_it_grows(settings: SearchSettings) -> None:
    members = replace(settings, parameter_target=10**9, output=settings.folder().with_name("far"))
    search(members, QUIET)
    assert {ffn for place in grown(members).caps.ffn for ffn in place} == {48}  # type: ignore[union-attr]
    few = replace(settings, parameter_target=100)
    with pytest.raises(UserError, match=r"--parameter-target is 100, and the smallest student of space has [\d,]+ "):
        search(few, QUIET)
    assert not few.folder().exists() or not (few.folder() / "run.json").exists()
    assert few.to_json()["parameter_target"] == 100 and "parameter_target" not in settings.to_json()


def test_a_budget_that_needs_fewer_heads_is_refused_at_once(settings: SearchSettings) -> None:
    """Layers have all their heads until some are alike: the fastest members of the plain space are none here."""
    profile = load_profile(Path(str(settings.target).partition(":")[2]))
    members = Members(space(settings.space_name), 33, 40, 2, Head("classification", 2))
    grown = growing(ELM, members)
    assert grown is not None

    def fastest(among: Members) -> float:
        scoring = Scoring(among, profile.predictor, settings.workload, profile.disturbance(settings.workload))
        return scoring.fastest(0).predicted_ms

    few, every = fastest(members), fastest(confined(members, grown.widest))
    assert few < 0.99 * every
    with pytest.raises(UserError, match="can meet --budget-ms .*: the fastest possible .*heads 4"):
        search(replace(settings, budgets_ms=((few + every) / 2,)), QUIET)
    assert not settings.folder().exists()


def test_what_does_not_grow_is_told_so(settings: SearchSettings) -> None:
    with pytest.raises(UserError, match="--method ridge has none that does: leave it away, or choose elm or elm-"):
        replace(settings, method="ridge", parameter_target=10**6).check()
    with pytest.raises(UserError, match="cannot grow: .* Choose --space elm-small"):
        replace(settings, space="hybrid").check()


def test_single_paths_have_three_times_the_steps() -> None:
    effort = EFFORTS["quick"]
    assert supernet_steps(ELM, effort) == 3 * effort.supernet_steps
    assert supernet_steps(METHODS["autotinybert"], effort) == effort.supernet_steps


def test_it_comes_with_spaces_that_can_grow() -> None:
    for name in ("elm", "elm-small"):
        SearchSettings((5.0,), method="elm", space=name).check()
