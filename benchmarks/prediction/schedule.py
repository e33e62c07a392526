"""What is done when: pieces of work that have to wait for a moment, and those that fill the waiting."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import time

from prediction.deadline import LimitedProgress
from runs.errors import UserError
from runs.progress import duration_text

NAP_SECONDS = 5.0


@dataclass(frozen=True)
class Work:
    """`run` may begin at the moment `ready_at()` (seconds since 1970), or None while another work has to end first."""

    name: str
    ready_at: Callable[[], float | None]
    run: Callable[[], None]


def carry_out(works: Sequence[Work], progress: LimitedProgress, clock: Callable[[], float] = time) -> None:
    """Do all works, the first that is ready each time, and rest only when none is.

    A `UserError` where those left wait for something that none of them makes.
    """
    pending, announced = list(works), ""
    while pending:
        now = clock()
        moments = [(max(moment, now), work) for work in pending if (moment := work.ready_at()) is not None]
        if not moments:
            raise UserError(f"{pending[0].name} wait for a profile that is not there: run --stage profile first.")
        moment, work = min(moments, key=lambda pair: pair[0])
        if moment > now:
            if announced != work.name:
                progress.say(f"waiting {duration_text(moment - now)} before {work.name}")
                announced = work.name
            progress.rest(min(moment - now, NAP_SECONDS))
            continue
        work.run()
        pending.remove(work)
