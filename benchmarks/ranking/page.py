"""`docs/benchmarks/proxies.md`: how well each proxy ranks, and what it costs, from the stored results alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from continued import one_teacher
from protocol import Interval

from nas.controllers.shape_features import foretell, spec_features
from ranking.correlation import Scores, Standing, standings
from ranking.population import Ranked, ranked_from_json

PLAIN = ("hidden width", "layers", "weights", "FLOPs")
"""What a proxy has to be better than: measures that cost nothing."""

LEARNED = "learned: "
FULL = "full distillations"

TRUTHS = {
    "test_divergence": ("divergence from the teacher", -1.0),
    "test": ("accuracy", 1.0),
}
"""What full distillations are ranked by on the test split: title, and the sign that makes greater better."""

READING = """\
Students of one latency band, each distilled in full by the recipe `default` with several seeds. τ is Kendall's (b), of
a proxy's order and the order by the mean over all seeds but one, averaged over the seed that is left out; in brackets
the 95 % interval over students drawn again. *One seed* is a full distillation ranked in the same way, against the other
seeds: what the whole cost buys once. *Of it*: τ as a share of that; a proxy with less noise than a seed may have more
than all of it. *Above …*: τ minus that of the best of
hidden width, number of layers, weights and FLOPs, which cost nothing; bold where its interval leaves out 0. *Cost*:
seconds for a student as a share of its full distillation, by one thread while the machine is busy; what a supernet
takes beforehand is said below the tables. *Learned*: nothing is asked of the student itself; a ridge regression over
shapes (`--method ridge`'s) has seen the scores of all the others by the proxy named, or their full distillations, and
says what it would be. *Quick* searches ask 30 steps, *standard* ones 160 at three times the rate, a pair chosen among
seventeen on the students of BANKING77 that are ranked here: others may be ranked a little less well by it. The
supernets of `elm` and `pruning` hold members of their own spaces alone, which these students are not."""


def plain_scores(population: Sequence[Ranked]) -> dict[str, Scores]:
    """What costs nothing, of each student."""
    specs = [one.spec for one in population]
    return {
        "hidden width": np.array([float(spec.hidden_width) for spec in specs]),
        "layers": np.array([float(len(spec.layers)) for spec in specs]),
        "weights": np.array([float(spec.parameters()) for spec in specs]),
        "FLOPs": np.array([float(spec.flops(1, 128)) for spec in specs]),
    }


def truth_of(one: Mapping[str, Any], key: str, sign: float) -> Scores | None:
    """[seeds, students] of the seeds that every student has; None where fewer than two are there."""
    count = len(one["population"])
    found = []
    for seed in range(1 + max((int(place.split("/")[1]) for place in one["distilled"]), default=-1)):
        cells = [one["distilled"].get(f"{number}/{seed}") for number in range(count)]
        if all(cells) and one_teacher([cell for cell in cells if cell]):
            found.append([sign * cell[key] for cell in cells if cell])
    return np.array(found) if len(found) > 1 else None


def proxy_scores(one: Mapping[str, Any]) -> dict[str, Scores]:
    """Of each proxy that has been asked of every student: greater is better."""
    names = dict.fromkeys(place.split("/", 1)[1] for place in one["tried"])
    count, found = len(one["population"]), {}
    for name in names:
        cells = [one["tried"].get(f"{number}/{name}") for number in range(count)]
        if all(cells) and one_teacher([cell for cell in cells if cell]):
            found[name] = np.array([-cell["loss"] for cell in cells if cell])
    return found


def learned_scores(one: Mapping[str, Any], proxies: Mapping[str, Scores]) -> dict[str, Scores]:
    """What a ridge regression over shapes says of each student that has learnt from all the others' scores."""
    features = np.array([spec_features(ranked_from_json(member).spec) for member in one["population"]])
    everyone = np.arange(len(features))
    found = {}
    for name, scores in proxies.items():
        said = [
            foretell(features[others], scores[others], features[number : number + 1])[0]
            for number in everyone
            for others in [everyone != number]
        ]
        found[f"{LEARNED}{name}"] = np.array(said)
    return found


def _words(found: Interval) -> str:
    return f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _signed(found: Interval) -> str:
    text = f"{found.mean:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"
    return f"**{text}**" if found.decided else text


def cost_of(one: Mapping[str, Any], name: str) -> float:
    """Seconds of a proxy for a student over those of its full distillation (the median over seeds, since a run may have
    been held up), the median over students."""
    full: dict[str, list[float]] = {}
    for place, cell in one["distilled"].items():
        full.setdefault(place.split("/")[0], []).append(cell["seconds"])
    tried = {place.split("/", 1)[0]: cell for place, cell in one["tried"].items() if place.split("/", 1)[1] == name}
    return float(np.median([cell["seconds"] / np.median(full[number]) for number, cell in tried.items()]))


def table(one: Mapping[str, Any], key: str) -> list[str]:
    """Markdown of one task by one truth; nothing where fewer than two seeds are there."""
    title, sign = TRUTHS[key]
    truth = truth_of(one, key, sign)
    if truth is None:
        return []
    plain, proxies = plain_scores([ranked_from_json(member) for member in one["population"]]), proxy_scores(one)
    learned = learned_scores(one, {**proxies, FULL: truth.mean(axis=0)})
    one_seed, found = standings(truth, {**plain, **proxies, **learned}, PLAIN)
    best = max(PLAIN, key=lambda name: found[name].tau.mean)
    lines = [
        f"By {title}, {truth.shape[1]} students, {truth.shape[0]} seeds:",
        "",
        f"| proxy | τ | of it | above {best} | cost |",
        "|---|---|---|---|---|",
        f"| one seed | {_words(one_seed)} | 100 % | | 100 % |",
    ]
    for name in sorted(found, key=lambda name: -found[name].tau.mean):
        lines.append(_row(name, found[name], one_seed, best, cost_of(one, name) if name in proxies else None))
    return [*lines, ""]


def _row(name: str, standing: Standing, one_seed: Interval, best: str, cost: float | None) -> str:
    share = f"{standing.tau.mean / one_seed.mean:.0%}".replace("%", " %") if one_seed.mean > 0 else "–"
    above = _signed(standing.above[best]) if best in standing.above else ""
    paid = "0" if cost is None else f"{100 * cost:.1f} %"
    return f"| {name} | {_words(standing.tau)} | {share} | {above} | {paid} |"


def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The whole page; a task without two seeds of every student is named and left out."""
    lines = ["# Which proxy ranks students best", "", READING, ""]
    for task, one in results.items():
        asked, net = one["asked"], one["supernet"]
        members = [ranked_from_json(member) for member in one["population"]]
        spaces = ", ".join(f"{sum(m.space == name for m in members)} of `{name}`"
                           for name in dict.fromkeys(m.space for m in members))  # fmt: skip
        lines += [
            f"## {task}",
            "",
            f"{len(members)} students ({spaces}) of 95–100 % of {asked['budget_ms']:g} ms on {one['target']}, cut from "
            f"{one['teacher_name']}: {min(len(m.spec.layers) for m in members)}–"
            f"{max(len(m.spec.layers) for m in members)} layers, {min(m.spec.hidden_width for m in members)}–"
            f"{max(m.spec.hidden_width for m in members)} channels.",
            "",
        ]
        tables = [line for key in TRUTHS for line in table(one, key)]
        lines += tables or ["Fewer than two seeds of every student are there yet.", ""]
        took = "in more than one go" if net.get("seconds") is None else f"in {net['seconds']:.0f} s"
        lines += [f"The supernet learnt for {asked['supernet_steps']:,} steps {took}, once for all students.", ""]
    return "\n".join(lines).rstrip() + "\n"
