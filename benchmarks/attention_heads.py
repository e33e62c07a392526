"""How long layers take by their number of heads, on one thread and on several: what `predictor/sharing.py` knows.

    python benchmarks/attention_heads.py

Two equal layers for each number of heads, whose other sizes stay; the fastest sample of three processes.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from devices.machine import this_machine
from devices.stopwatch import Policy
from devices.store import IN_MEMORY, SampleStore
from devices.undisturbed import undisturbed
from devices.workload import Workload
from export.items import Item, Stack
from predictor.sharing import busiest_units
from profiler.processes import measure_items
from runs.errors import UserError
from runs.files import write_json_atomic
from runs.progress import Progress
from students.spec import LayerBlock, TransformerLayer

HIDDEN, HEAD_WIDTH, FFN, LAYERS = 192, 32, 64, 2
POLICY = Policy(rounds=6, settle_runs=3, sample_ms=20.0, max_runs=60)
ENOUGH_CYCLES = 1e7
"""Of a head: attention to hundreds of tokens is worth sharing."""


def main(
    target: Annotated[str, typer.Option(help="what to time on")] = "onnxruntime",
    most_heads: Annotated[int, typer.Option(help="from 1 to so many", min=1)] = 8,
    threads: Annotated[int, typer.Option(help="beside 1", min=2)] = 2,
    sequence_length: Annotated[int, typer.Option(min=1)] = 384,
    output: Annotated[Path, typer.Option(help="JSON file")] = Path("benchmarks/results/attention_heads.json"),
) -> None:
    """Print ms by number of heads, and how many heads the busiest thread has by `predictor/sharing.py`."""
    heads = range(1, most_heads + 1)
    items: dict[str, Item] = {
        str(number): Stack(LayerBlock(HIDDEN, TransformerLayer(number, number * HEAD_WIDTH, FFN)), LAYERS)
        for number in heads
    }
    workloads = [Workload(1, sequence_length, count) for count in (1, threads)]
    with SampleStore(IN_MEMORY) as store:
        measure_items(items, target, workloads, POLICY, progress=Progress(), store=store)
        found = undisturbed(store.samples())
    rows = []
    for number in heads:
        alone, together = (found[str(number), workload].latency_ms for workload in workloads)
        most = int(busiest_units(np.array([float(number)]), np.array([ENOUGH_CYCLES]), threads)[0])
        rows.append({"heads": number, "alone_ms": alone, "together_ms": together, "heads_of_busiest": most})
        print(
            f"{number} heads: {alone:.3f} ms, on {threads} threads {together:.3f} ms, {most} on the busiest by the rule"
        )
    workload = {"threads": threads, "sequence_length": sequence_length}
    write_json_atomic(output, {"machine": asdict(this_machine()), "target": target, **workload, "rows": rows})


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as problem:
        raise SystemExit(f"error: {problem}") from None
