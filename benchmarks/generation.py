#!/usr/bin/env python3
"""Does a causal student write in ONNX Runtime, by its cache, token for token what it writes in PyTorch?

`generation.py CHECKPOINT TEXTS` begins `--prompts` texts of the test split with their first tokens, lets both write on
greedily, and stores in `--results` how many texts are equal in each dialect of the files, and where others part.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from grid.teaching import machine

from distill.checkpoints import load_tokenizer
from distill.tasks import load_task
from export.form import Form
from export.generation import generate_greedily
from export.graph import student_graph
from export.part import DIALECTS
from export.verify import open_graph
from export.weights import module_weights
from runs.errors import UserError
from runs.files import write_json_atomic
from runs.progress import Progress
from students.model import StudentForCausalLM, load_student

RESULTS = Path(__file__).resolve().parent / "results" / "generation.json"


def prompts(tokenizer: Any, texts: list[str], count: int, tokens: int) -> list[Any]:
    """Ids int64 [1, `tokens` or fewer] of the first texts that have as much as one."""
    found = []
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"][:tokens]
        if ids:
            found.append(np.array([ids], dtype=np.int64))
        if len(found) == count:
            return found
    raise UserError(f"there are {len(found)} texts to begin with, and --prompts is {count}: ask for fewer.")


def compare(model: Any, begun: list[Any], steps: int, progress: Progress) -> dict[str, Any]:
    """By dialect, how many of the texts come out equal, and the first place at which each of the others parts."""
    spec, weights = model.config.spec_object, module_weights(model)
    sessions = {
        name: open_graph(student_graph(spec, weights, Form(name)).SerializeToString(), 1) for name in DIALECTS.names()
    }
    partings: dict[str, list[int]] = {name: [] for name in sessions}
    with progress.task("writing on", len(begun)) as shown:
        for ids in begun:
            given, mask = torch.from_numpy(ids), torch.ones(ids.shape, dtype=torch.long)
            with torch.inference_mode():
                written = model.generate(given, attention_mask=mask, max_new_tokens=steps, min_new_tokens=steps,
                                         do_sample=False, pad_token_id=0)  # fmt: skip
            expected = written[:, ids.shape[1] :].numpy()
            for name, session in sessions.items():
                found = generate_greedily(session, ids, mask.numpy(), steps)
                if not np.array_equal(found, expected):
                    partings[name].append(int(np.argmax(found[0] != expected[0])))
            shown.advance()
    return {name: {"equal": len(begun) - len(ends), "partings": ends} for name, ends in partings.items()}


def main(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a causal student.")],
    texts: Annotated[str, typer.Argument(help="Folder or file with a column `text`, or a plain text.")],
    count: Annotated[int, typer.Option("--prompts", help="Texts to begin with.")] = 200,
    tokens: Annotated[int, typer.Option(help="Tokens of each beginning.")] = 16,
    steps: Annotated[int, typer.Option(help="Tokens to be written.")] = 64,
    results: Path = RESULTS,
) -> None:
    """Compare, print and store."""
    model, progress = load_student(checkpoint), Progress()
    if not isinstance(model, StudentForCausalLM):
        raise UserError(f"{checkpoint} holds no causal language model, so there is nothing to write on.")
    task = load_task(texts, progress, "causal-lm")
    begun = prompts(load_tokenizer(checkpoint), list(task.test.texts), count, tokens)
    found = compare(model, begun, steps, progress)
    about = {"data": task.name, "prompts": count, "tokens": tokens, "steps": steps, "machine": machine()}
    write_json_atomic(results, {**about, "student": model.config.spec_object.to_json(), "dialects": found})
    for name, one in found.items():
        progress.say(f"{name}: {one['equal']} of {count} texts equal over {steps} tokens")


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as problem:
        raise SystemExit(f"error: {problem}") from None
