"""The supernet of a space: which parts it has, for how many steps a method teaches it, and whether that can be done."""

from dataclasses import replace
from functools import partial

import numpy as np

from distill.growth import Growing
from distill.supernet_lesson import SAMPLINGS, Parts
from nas.members import Members
from nas.methods import Method
from nas.schedule import Effort
from runs.errors import UserError
from students.caps import Caps
from students.space_file import choices_hash
from students.spec import StudentSpec

MOST_TIMES = 6.0
"""How many times the teacher's weights a supernet may have: training one takes 16 bytes a weight, and time likewise."""

USUAL_PARTS = 3
"""That learn in each of an effort's steps; a method of fewer has more steps."""

SAMPLED = 20


def parts_of_space(members: Members) -> Parts:
    """The members of a space as parts of one supernet."""
    smallest = members.specs(members.space.enumerate_extremes()[:1])[0]
    name = f"{members.space.name} {choices_hash(members.space.choices)}"
    return Parts(name, members.supernet, smallest, partial(_drawn, members))


def _drawn(members: Members, count: int, rng: np.random.Generator) -> list[StudentSpec]:
    return members.specs(members.space.sample(count, rng))


def growing(method: Method, members: Members, target: int | None = None) -> Growing | None:
    """How a method's supernet grows; None where it is what it is from the start.

    Raises `UserError` for a space that cannot grow, and for a `target` that no member is as small as.
    """
    if method.growth is None:
        return None
    # Whatever it is confined to now, it is another part of the same space as it grows.
    whole = replace(members, space=replace(members.space, caps=None))
    found = Growing(method.growth, whole.space, partial(_within, whole), whole.specs, target)
    if target is not None:
        smallest = confined(members, found.widest)
        least = float(smallest.parameters(smallest.space.enumerate_extremes()).min())
        if target < least:
            raise UserError(
                f"--parameter-target is {target}, and the smallest student of {members.space.name} has {least:,.0f} "
                "weights for this teacher: give at least as many, or none."
            )
    return found


def _within(members: Members, caps: Caps) -> Parts:
    return parts_of_space(confined(members, caps))


def confined(members: Members, caps: Caps) -> Members:
    """Those members that lie within caps."""
    return replace(members, space=replace(members.space, caps=caps))


def supernet_steps(method: Method, effort: Effort) -> int:
    """Optimizer steps of a method's supernet."""
    return max(1, round(effort.supernet_steps * USUAL_PARTS / method.parts))


def supernet_work(members: Members, teacher: StudentSpec, method: Method) -> float:
    """Times the teacher's work that a step of its supernet takes, by the parts that learn in it.

    Raises `UserError` for a space whose supernet would be too large; to be asked before anything is trained.
    """
    supernet = members.supernet
    times = supernet.parameters() / teacher.parameters()
    if times > MOST_TIMES:
        raise UserError(
            f"a supernet of the space {members.space.name} would have {supernet.parameters() / 1e6:.0f} M weights, "
            f"{times:.1f} times the teacher's: choose --method evolution, or a --space of fewer types of "
            "layer, or whose widest heads, layers and feed-forwards are nearer to the teacher's."
        )
    parts, rng, choose = parts_of_space(members), np.random.default_rng(0), SAMPLINGS[method.sampling].choose
    learning = [spec for _ in range(SAMPLED) for spec in choose(parts, method.parts, rng)]
    return sum(spec.flops(1, 64) for spec in learning) / SAMPLED / teacher.flops(1, 64)
