"""Jobs in several processes, each with threads of its own: what has ended is kept as it comes."""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from threading import Thread
from typing import TypeVar

import torch

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")


def in_workers(
    jobs: Iterator[Job],
    work: Callable[[Job], Outcome],
    keep: Callable[[Job, Outcome], None],
    *,
    workers: int,
    threads: int,
    minutes: float,
) -> None:
    """Do the jobs, each drawn when a worker is free and none after so many minutes; `keep` what each came to.

    `work` and jobs are sent to processes that begin anew, so both must be picklable; without workers all is done here,
    in this process's threads.
    Raises what a job raised, once the others that had begun are kept.
    """
    end = time.monotonic() + 60 * minutes
    if not workers:
        while time.monotonic() < end and (job := next(jobs, None)) is not None:
            keep(job, work(job))
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, begin_worker, (threads,)) as pool:
        running: dict[Future[Outcome], Job] = {}
        while True:
            # Nothing is drawn where it could not begin: drawing may itself settle a job.
            while len(running) < workers and time.monotonic() < end:
                try:
                    job = next(jobs)
                except StopIteration:
                    break
                running[pool.submit(work, job)] = job
            if not running:
                return
            failed: list[Future[Outcome]] = []
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                if future.exception():
                    failed.append(future)
                else:
                    keep(running.pop(future), future.result())
            if failed:
                # What the others are at is kept as well before this ends.
                for future in wait([one for one in running if one not in failed]).done:
                    if not future.exception():
                        keep(running.pop(future), future.result())
                failed[0].result()


def begin_worker(threads: int) -> None:
    """A worker has threads of its own, and ends when whoever asked for its work is gone."""
    torch.set_num_threads(threads)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
