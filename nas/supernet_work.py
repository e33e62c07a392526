"""What the supernet of a space costs beside its teacher, and whether it is one that can be taught."""

import numpy as np

from nas.members import Members
from runs.errors import UserError
from students.spec import StudentSpec
from students.supernet import of_one_type

MOST_TIMES = 6.0
"""How many times the teacher's weights a supernet may have: training one takes 16 bytes a weight, and time likewise."""

SAMPLED = 50


def supernet_work(members: Members, teacher: StudentSpec) -> float:
    """Times the teacher's work that a step of its supernet takes: the whole, the smallest part and one between.

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
    whole = of_one_type(supernet, 0)
    drawn = members.specs(members.space.sample(SAMPLED, np.random.default_rng(0)))
    between = float(np.mean([spec.flops(1, 64) for spec in drawn]))
    smallest = members.specs(members.space.enumerate_extremes()[:1])[0]
    return (whole.flops(1, 64) + smallest.flops(1, 64) + between) / teacher.flops(1, 64)
