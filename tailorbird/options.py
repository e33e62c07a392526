"""The flags that several commands share, each with its help, so that they read and behave alike."""

from pathlib import Path
from typing import Annotated

import typer

Targets = Annotated[
    list[str],
    typer.Option(
        "--target", help="cpu, cuda, onnxruntime, openvino, or a variant such as cpu:compile; may be repeated."
    ),
]
MaybeTarget = Annotated[
    str | None, typer.Option("--target", help="Where the student will run. Default: the target of the profile in use.")
]
Threads = Annotated[int, typer.Option(help="Threads of one inference.")]
BatchSize = Annotated[int, typer.Option(help="Examples of one inference.")]
SequenceLength = Annotated[int, typer.Option(help="Tokens of one example.")]
MaybeThreads = Annotated[int | None, typer.Option(help="Threads of one inference.")]
MaybeBatchSize = Annotated[int | None, typer.Option(help="Examples of one inference.")]
MaybeSequenceLength = Annotated[int | None, typer.Option(help="Tokens of one example.")]
EarlierTokens = Annotated[
    int, typer.Option(help="Tokens in a causal student's cache: what the next one takes. Then --sequence-length is 1.")
]
MaybePrecision = Annotated[str | None, typer.Option(help="fp32, bf16, fp16 or int8, as far as the target has it.")]
ManyThreads = Annotated[list[int], typer.Option("--threads", help="Threads of one inference; may be repeated.")]
ManyBatchSizes = Annotated[list[int], typer.Option("--batch-size", help="Examples of one inference; may be repeated.")]
ManySequenceLengths = Annotated[
    list[str],
    typer.Option(
        "--sequence-length", help="Tokens of one example, or two ends as in 16-512; repeatable. Default: 128."
    ),
]
Precision = Annotated[str, typer.Option(help="fp32, bf16, fp16 or int8, as far as the target has it.")]
ManyPrecisions = Annotated[list[str], typer.Option("--precision", help="fp32, bf16, fp16 or int8; may be repeated.")]
FilePrecisions = Annotated[
    list[str],
    typer.Option(
        "--precision",
        help="fp32, fp16, int8, int8-static, int8-weights or int4-weights; may be repeated. fp32 is always written.",
    ),
]
Dialects = Annotated[
    list[str],
    typer.Option("--dialect", help="portable (any runtime) or onnxruntime (what that runs fastest); may be repeated."),
]
Runtimes = Annotated[
    list[str],
    typer.Option("--verify", help="Run on onnxruntime, openvino, mnn, ncnn or litert as well; may be repeated."),
]
ExportData = Annotated[
    str | None,
    typer.Option("--data", help="The data that the checkpoint was trained for: to compare, score and calibrate on."),
]
ProfileFolder = Annotated[
    Path | None, typer.Option("--profile", help="Device profile. Default: this machine's, made first if there is none.")
]
Teacher = Annotated[
    str | None,
    typer.Option(help="Checkpoint folder or hub name. Default: all-MiniLM-L6-v2 from the package index, fine-tuned."),
]
Data = Annotated[
    str | None,
    typer.Option(
        help="CSV, JSONL or Parquet file, a folder of train/validation/test files, or a hub name, with columns text, "
        "optional text_pair, and label. Default: movie-review snippets from the package index."
    ),
]
Seed = Annotated[int, typer.Option(help="Every random choice follows from it.", min=0, max=2**32 - 1)]
Quiet = Annotated[bool, typer.Option("--quiet", help="Say nothing but the result and errors.")]
Effort = Annotated[str, typer.Option(help="How much time to spend: see the README.")]
TaskKind = Annotated[
    str | None,
    typer.Option(
        "--task",
        help="classification, regression, tokens, spans, masked-lm or causal-lm. Default: what the data's columns say.",
    ),
]
