"""How small a classifier's file gets, and what that costs on texts that nothing was chosen by.

    python benchmarks/small_file.py CHECKPOINT --data CLINC150_FOLDER

The vocabulary is pruned to the training texts, every precision written, and gated on the validation texts. The smallest
file that the gate keeps is then scored on the test split, once, beside the checkpoint and bag-of-words.
"""

import json
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import typer
from protocol import paired_bootstrap

from devices.fingerprint import fingerprint
from devices.target import open_target
from distill.bag_of_words import bag_of_words_score
from distill.evaluation import evaluate
from distill.tasks import load_task
from export.gate import Gate
from export.lowering import LOWERING_VERSION
from export.student import load_tokenizer
from export.verify import run_graph, text_batches
from runs.files import write_json_atomic
from runs.progress import Progress
from students.bert import load_model
from tailorbird.exporting import PRUNED, Request, export_checkpoint

PRECISIONS = ("int8", "int8-static", "int4", "int8-weights", "int4-weights")
EMBEDDINGS = ("int8", "int4")
BAR_BYTES, BAR_POINTS = 6_000_000, 1.0


def main(
    checkpoint: Annotated[Path, typer.Argument(help="a classifier's folder")],
    data: Annotated[str, typer.Option(help="the data that it was trained on")],
    maximum_length: Annotated[int, typer.Option(help="where texts are cut, in tokens")] = 64,
    maximum_loss: Annotated[float, typer.Option(help="points of validation score that a file may lose")] = 0.5,
    output: Annotated[Path, typer.Option(help="JSON file")] = Path("benchmarks/results/small_file.json"),
) -> None:
    """Write the sizes, the gate's verdicts on validation, and the test score of the smallest file kept."""
    progress = Progress()
    task = load_task(data, progress)
    with TemporaryDirectory(prefix="small-file-") as scratch:
        found, folders = [], {}
        for embeddings in EMBEDDINGS:
            folders[embeddings] = Path(scratch) / embeddings
            request = Request(
                checkpoint,
                folders[embeddings],
                PRECISIONS,
                embeddings=embeddings,
                maximum_length=maximum_length,
                data=data,
                gate=Gate(maximum_loss_points=maximum_loss),
                prune_vocabulary=True,
            )
            result = export_checkpoint(request, progress)
            found += [{**row, "folder": embeddings} for row in result["files"] if row["gate"]]
        best = min(found, key=lambda row: row["bytes"])
        folder = folders[best["folder"]]
        model, split = load_model(checkpoint), task.test
        whole = evaluate(model, load_tokenizer(checkpoint), split, maximum_length)
        batches = text_batches(load_tokenizer(folder / PRUNED), split.given(), maximum_length=maximum_length)
        answers = np.concatenate(list(run_graph(folder / best["file"], batches)))
    labels = np.array(split.labels)
    own, before = ((logits.argmax(axis=-1) == labels).astype(float) for logits in (answers, whole.logits))
    difference = paired_bootstrap(own[None], before[None])
    summary: dict[str, Any] = {
        "fingerprint": fingerprint(open_target("onnxruntime"), LOWERING_VERSION).to_json(),
        "task": task.name,
        "labels": len(task.label_names),
        "spec": model.config.spec_object.to_json(),
        "vocabulary": result["vocabulary"],
        "validation": found,
        "refused": result["refused"],
        "smallest": {"file": best["file"], "bytes": best["bytes"]},
        "test": {
            "examples": len(labels),
            "checkpoint": float(before.mean()),
            "file": float(own.mean()),
            "bag_of_words": bag_of_words_score(task),
            "difference": asdict(difference),
        },
        "reached": bool(best["bytes"] <= BAR_BYTES and 100 * (before.mean() - own.mean()) <= BAR_POINTS),
    }
    write_json_atomic(output, summary)
    print(json.dumps({name: summary[name] for name in ("smallest", "test", "reached")}, indent=2))


if __name__ == "__main__":
    typer.run(main)
