"""Results that another machine began: what is complete stays, what is begun is done again if its teacher is another."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import proxy_correlation  # noqa: E402
import search_quality  # noqa: E402
from continued import one_teacher, still_to_do  # noqa: E402

from students.spec import uniform_spec  # noqa: E402


def test_students_of_another_teacher_are_not_mixed_into_a_group_that_is_begun() -> None:
    jobs = [search_quality.Job("tone", 4.0, how, seed) for seed in range(2) for how in ("kd-nas", "random")]
    cells = {job.place: {"weights": "theirs"} for job in jobs[:3]}
    assert still_to_do(jobs, lambda job: cells, {"tone": "theirs"}) == jobs[3:] and len(cells) == 3
    assert still_to_do(jobs, lambda job: cells, {"tone": "ours"}) == jobs[2:]
    assert len(cells) == 3, "what is there stays until it is done again"
    mixed = cells | {jobs[3].place: {"weights": "ours"}}
    assert still_to_do(jobs, lambda job: mixed, {"tone": "ours"}) == jobs[2:3], "what is done again is all done again"
    assert one_teacher(list(cells.values())) and not one_teacher([*cells.values(), {"weights": "ours"}])


def test_what_is_ranked_together_is_a_group() -> None:
    spec = uniform_spec(1, 8, 2, 8)
    one, other = (proxy_correlation.Job("tone", number, spec, seed=0) for number in range(2))
    assert one.group == other.group and one.place != other.place
    assert one.group != proxy_correlation.Job("tone", 0, spec, seed=1).group
    assert one.group != proxy_correlation.Job("tone", 0, spec, contender="30 steps").group
