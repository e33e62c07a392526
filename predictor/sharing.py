"""How a runtime shares an operator's work among threads: what the busiest of them has to do.

The rules are those of ONNX Runtime's thread pool, which took them from Eigen's: work below some ten thousand cycles
stays with one thread, and units of work are dealt in blocks of several. Both make steps in latency that no sum of FLOPs
shows: on two threads a layer takes longer with three heads than with four (`benchmarks/attention_heads.py`). Terms made
of these rules are only offered to a law, which leaves them at 0 for a runtime that shares its work in another way.
"""

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[np.float64]

START_CYCLES, THREAD_CYCLES = 100_000, 100_000
"""What starting to share costs, and each thread of it, in the cycles in which Eigen counts work."""

ROUNDED = 0.9
"""Of a thread: from a tenth of one thread's worth on there is another one."""

BLOCK_CYCLES = 40_000
"""Work that a block should hold at least."""

BLOCKS_A_THREAD = 4
"""At most, where the work is enough for them."""

CYCLES_A_BYTE = 11 / 64
"""Of reading or writing memory."""

ENOUGH = 0.01
"""How much less evenly larger blocks may be dealt and still be preferred."""


def shared(cycles: Column, threads: int) -> npt.NDArray[np.bool_]:
    """Whether work of so many cycles [n] goes to more than one thread."""
    return (threads > 1) & (_threads_worth(cycles) >= 2)


def _threads_worth(cycles: Column) -> Column:
    return np.floor((cycles - START_CYCLES) / THREAD_CYCLES + ROUNDED)


def busiest_units(units: Column, unit_cycles: Column, threads: int) -> Column:
    """Units of work that the thread with most of them gets [n], where each of so many takes so many cycles [n]."""
    if threads == 1:
        return units
    alone = (units < 2) | ~shared(units * unit_cycles, threads)
    least = np.floor(BLOCK_CYCLES / np.maximum(unit_cycles, 1.0))
    pairs, places = np.unique(np.stack([units, least]), axis=1, return_inverse=True)
    dealt = np.array([_busiest(int(count), int(block), threads) for count, block in pairs.T], dtype=np.float64)
    return np.where(alone, units, dealt[places.reshape(-1)])


def _busiest(units: int, least_block: int, threads: int) -> int:
    """The units of the busiest thread where they are dealt in blocks of at least so many."""
    block = _block(units, least_block, threads)
    whole, rest = divmod(units, block)
    # Only whole blocks count here, so that two threads do not share one block and a rest.
    dealers = min(threads, whole)
    return whole // dealers * block + (block if whole % dealers else rest)


def _block(units: int, least: int, threads: int) -> int:
    """Units in a block: few blocks, but of the numbers of them near that the one that keeps all threads busiest."""

    def busy(blocks: int) -> float:
        return blocks / (_rounded_up(blocks, threads) * threads)

    block = min(units, max(_rounded_up(units, BLOCKS_A_THREAD * threads), least))
    most = min(units, 2 * block)
    blocks = _rounded_up(units, block)
    best = busy(blocks)
    while best < 1 and blocks > 1:
        larger = _rounded_up(units, blocks - 1)
        if larger > most:
            break
        blocks = _rounded_up(units, larger)
        if busy(blocks) + ENOUGH >= best:
            block, best = larger, max(best, busy(blocks))
    return block


def _rounded_up(number: int, divisor: int) -> int:
    return -(-number // divisor)
