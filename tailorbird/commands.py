"""The six commands: each function's signature is the command's interface, and the same function is the Python API.

A command returns the object that `--json` prints. Heavy rooms are imported inside, so that `--help` answers at once.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from tailorbird import options, render
from tailorbird.console import run_command, run_shared_command


def profile_device(
    target: options.Targets,
    threads: options.ManyThreads = [1],  # noqa: B006 - Typer reads the default; nobody changes it
    batch_size: options.ManyBatchSizes = [1],  # noqa: B006
    sequence_length: options.ManySequenceLengths = [],  # noqa: B006
    precision: options.ManyPrecisions = ["fp32"],  # noqa: B006
    earlier_tokens: options.EarlierTokens = 0,
    effort: options.Effort = "quick",
    minutes: Annotated[float | None, typer.Option(help="Time for each target. Default: the effort's.")] = None,
    error_percent: Annotated[
        float | None, typer.Option(help="Stop at this mean error on models left out of the fit.")
    ] = None,
    adapt_from: Annotated[
        Path | None, typer.Option(help="Profile whose predictor is moved to the target by a few measurements.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Measurements to adapt by.")] = 20,
    seed: options.Seed = 0,
    output: Annotated[Path | None, typer.Option(help="Profile folder. Default: the home folder.")] = None,
    quiet: options.Quiet = False,
) -> dict[str, Any]:
    """Measure a device and learn to predict its latencies; print the error on students it has never seen."""
    from devices.disturbance import disturbances_to_json
    from profiler.adapt import adapt_profile
    from profiler.profile import profile_device as profile
    from profiler.workloads import workload_range
    from runs.progress import Progress
    from tailorbird.inputs import usual_length

    lengths = sequence_length or [str(usual_length(earlier_tokens))]
    many = workload_range(lengths, batch_size, threads, precision, earlier_tokens)
    folders = {name: output if output is None or len(target) == 1 else output / name for name in target}
    progress = Progress(quiet)
    if adapt_from is None:
        profiles = [
            profile(name, many, effort, folder, seed, progress, minutes=minutes, error_percent=error_percent)
            for name, folder in folders.items()
        ]
    else:
        profiles = [
            adapt_profile(adapt_from, name, many, samples, folder, seed, progress) for name, folder in folders.items()
        ]
    return {
        "profiles": [
            {
                "target": one.target,
                "folder": str(one.folder),
                "effort": one.effort,
                "workloads": one.workloads.to_json(),
                "seconds": one.seconds,
                "device": one.fingerprint.to_json(),
                "adapted_from": one.adapted_from,
                "check": one.check,
                "stability": one.stability,
                "disturbances": disturbances_to_json(one.disturbances),
                "error_budget": one.error_budget,
            }
            for one in profiles
        ]
    }


def predict_latency(
    student: Annotated[list[str], typer.Argument(help="Spec file (JSON), named shape, or checkpoint folder.")],
    profile: options.ProfileFolder = None,
    target: options.MaybeTarget = None,
    threads: options.Threads = 1,
    batch_size: options.BatchSize = 1,
    sequence_length: Annotated[int | None, typer.Option(help="Tokens of one example. Default: 128.")] = None,
    precision: options.Precision = "fp32",
    earlier_tokens: options.EarlierTokens = 0,
    quiet: options.Quiet = False,
) -> dict[str, Any]:
    """Predict the latency of students from a device profile, without running them."""
    from nas.device import device_profile
    from runs.progress import Progress
    from tailorbird.inputs import one_workload, read_outline, require_cache, too_long, usual_length

    length = sequence_length or usual_length(earlier_tokens)
    workload = one_workload(batch_size, length, threads, precision, earlier_tokens)
    outlines = {name: read_outline(name) for name in student}
    require_cache({name: outline.spec for name, outline in outlines.items()}, workload)
    specs = [outline.spec for outline in outlines.values()]
    used, place = device_profile(profile, target, workload, Progress(quiet))
    ms = used.predictor.predict(specs, workload)
    low, high = used.predictor.predict_interval(specs, workload)
    disturbance = used.disturbance(workload)
    clocked, (least, most) = disturbance.usual * ms, disturbance.interval(low, ms, high)
    covered = used.predictor.covers(specs, workload)
    return {
        "target": place,
        "workload": workload.to_json(),
        "profile": str(used.folder),
        "disturbance": disturbance.to_json(),
        "students": [
            {
                "student": name,
                "parameters": outline.spec.parameters(),
                "latency_ms": float(ms[n]),
                "interval_ms": [float(low[n]), float(high[n])],
                "clocked_ms": float(clocked[n]),
                "clocked_interval_ms": [float(least[n]), float(most[n])],
                "covered": bool(covered[n]),
                "notes": [*outline.notes, *too_long(outline.spec, workload)],
            }
            for n, (name, outline) in enumerate(outlines.items())
        ],
    }


def nas_search(
    budget_ms: Annotated[list[float], typer.Option(help="Latency the student may take; may be repeated.")],
    target: options.MaybeTarget = None,
    profile: options.ProfileFolder = None,
    teacher: options.Teacher = None,
    data: options.Data = None,
    task: options.TaskKind = None,
    threads: options.Threads = 1,
    batch_size: options.BatchSize = 1,
    sequence_length: Annotated[
        str, typer.Option(help="Tokens of one example, or `auto`: what 99 % of the training texts fit into.")
    ] = "128",
    precision: Annotated[
        str, typer.Option(help="fp32, int8, or another that the target has; auto: the better of fp32 and int8.")
    ] = "fp32",
    method: Annotated[
        str,
        typer.Option(
            help="How to search: ridge, kd-nas, kd-nas-paper, learned, autotinybert, autotinybert-fast, "
            "autotinybert-paper, autotinybert-steps, elm, elm-fixed-dimension, elm-fixed-heads, elm-plain-features, "
            "integer-programming, pruning, zero-step, evolution, local, nsga2, w-pca or random."
        ),
    ] = "ridge",
    space: Annotated[
        str | None,
        typer.Option(
            help="Which students there are: hybrid, mixed, compact, kd-nas, autotinybert-kd, autotinybert-mlm, "
            "elm, elm-small, pruning, or a YAML file. Default: pruning for integer-programming and pruning, "
            "elm-small for elm, else hybrid."
        ),
    ] = None,
    learn_from: Annotated[
        list[Path],
        typer.Option(
            help="Run folder of an earlier search of the same data and space, for ridge or learned; repeatable."
        ),
    ] = [],  # noqa: B006
    max_parameters: Annotated[int | None, typer.Option(help="Largest number of weights.")] = None,
    max_file_mb: Annotated[
        float | None, typer.Option(help="Largest file that the target runs, in millions of bytes.")
    ] = None,
    max_memory_mb: Annotated[
        float | None, typer.Option(help="Most memory to run that file in ONNX Runtime, in millions of bytes.")
    ] = None,
    parameter_target: Annotated[
        int | None, typer.Option(help="Weights of random students on average at which elm's supernet stops to grow.")
    ] = None,
    effort: options.Effort = "quick",
    seed: options.Seed = 0,
    output: Annotated[Path | None, typer.Option(help="Run folder. Default: tailorbird-<hash> here.")] = None,
    quiet: options.Quiet = False,
) -> dict[str, Any]:
    """Find, distil, export and verify the best student that a device runs within a latency budget."""
    from nas.search import SearchSettings, search
    from runs.progress import Progress
    from tailorbird.inputs import length_or_auto, one_workload, precision_or_auto

    length, one_precision = length_or_auto(sequence_length), precision_or_auto(precision)
    settings = SearchSettings(
        budgets_ms=tuple(budget_ms),
        workload=one_workload(batch_size, length or 128, threads, one_precision or "fp32"),
        sequence_length_auto=length is None,
        precision_auto=one_precision is None,
        target=target,
        profile=profile,
        teacher=teacher,
        data=data,
        task=task,
        method=method,
        space=space,
        learn_from=tuple(learn_from),
        max_parameters=max_parameters,
        max_file_mb=max_file_mb,
        max_memory_mb=max_memory_mb,
        parameter_target=parameter_target,
        effort=effort,
        seed=seed,
        output=output,
    )
    return {"verdicts": search(settings, Progress(quiet))}


def distill_student(
    student: Annotated[str, typer.Option(help="Spec file (JSON), named shape, or checkpoint folder.")],
    teacher: options.Teacher = None,
    data: options.Data = None,
    task: options.TaskKind = None,
    recipe: Annotated[
        str,
        typer.Option(
            help="How the teacher teaches: default, labels, from-random, distilbert, tinybert, minilm, minilmv2, "
            "mobilebert, pkd, kd-nas, autotinybert, elm, elm-plain, or a YAML file."
        ),
    ] = "default",
    initialization: Annotated[
        str | None,
        typer.Option(
            help="What the student starts from: random, teacher-layers, sliced, refitted, the folder of an earlier "
            "student, or supernet:FOLDER for a part of it. Default: the recipe's."
        ),
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the training data. Default: the recipe's.")] = None,
    vocabulary: Annotated[
        str,
        typer.Option(
            help="Which words' embeddings are trained: data (the data's alone, which is faster), all, or auto: data "
            "wherever that is possible."
        ),
    ] = "auto",
    transfer_data: Annotated[
        Path | None, typer.Option(help="Texts without labels that the teacher answers, for the student to learn from.")
    ] = None,
    augment: Annotated[
        int | None,
        typer.Option(help="Most copies of each text with some words replaced; 0: none. Default: the recipe's.", min=0),
    ] = None,
    seed: options.Seed = 0,
    output: Annotated[Path | None, typer.Option(help="Run folder. Default: tailorbird-<hash> here.")] = None,
    quiet: options.Quiet = False,
) -> dict[str, Any]:
    """Distil one student from a teacher, without a search."""
    from distill.extra import Extra, read_texts
    from runs.progress import Progress
    from tailorbird.distilling import Request, distill_one
    from tailorbird.inputs import read_spec

    request = Request(
        student=read_spec(student),
        teacher=teacher,
        data=data,
        kind=task,
        recipe=recipe,
        initialization=initialization,
        epochs=epochs,
        vocabulary=vocabulary,
        augment=augment,
        extra=Extra(() if transfer_data is None else read_texts(transfer_data)),
        seed=seed,
        output=output,
    )
    return distill_one(request, Progress(quiet))


def export_student(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a student or a stock BERT.")],
    output: Annotated[Path, typer.Option(help="Where the files go.")],
    precision: options.FilePrecisions = ["fp32", "int8"],  # noqa: B006
    dialect: options.Dialects = ["portable", "onnxruntime"],  # noqa: B006
    embeddings: Annotated[str | None, typer.Option(help="fp16, int8 or int4 for the embedding tables alone.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Fix the batch size. Default: any.")] = None,
    sequence_length: Annotated[int | None, typer.Option(help="Fix the length in tokens. Default: any.")] = None,
    maximum_length: Annotated[int, typer.Option(help="Where texts are cut, in tokens.")] = 128,
    threads: options.Threads = 1,
    data: options.ExportData = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Texts for int8-static, one a line. Default: --data's.")
    ] = None,
    maximum_loss: Annotated[float, typer.Option(help="Score points of 100 that a precision may lose.")] = 0.5,
    keep_all: Annotated[
        bool, typer.Option("--keep-all", help="Keep files that are no better, or lose too much.")
    ] = False,
    prune_vocabulary: Annotated[
        bool, typer.Option("--prune-vocabulary", help="Keep only the tokens that --data and a margin need.")
    ] = False,
    bundle: Annotated[
        bool, typer.Option("--bundle", help="A folder that runs with onnxruntime and numpy alone.")
    ] = False,
    stock: Annotated[bool, typer.Option("--stock", help="A folder that plain transformers loads as BERT.")] = False,
    verify: options.Runtimes = [],  # noqa: B006
    quiet: options.Quiet = False,
) -> dict[str, Any]:
    """Write a checkpoint as ONNX files, keep those that are worth it, and prove them on other runtimes."""
    from export.gate import Gate
    from runs.progress import Progress
    from tailorbird.exporting import Request, export_checkpoint

    request = Request(
        checkpoint=checkpoint,
        output=output,
        precisions=tuple(precision),
        dialects=tuple(dialect),
        embeddings=embeddings,
        batch_size=batch_size,
        sequence_length=sequence_length,
        threads=threads,
        maximum_length=maximum_length,
        data=data,
        calibration=calibration,
        gate=None if keep_all else Gate(maximum_loss_points=maximum_loss),
        prune_vocabulary=prune_vocabulary,
        bundle=bundle,
        stock=stock,
        runtimes=tuple(verify),
    )
    return export_checkpoint(request, Progress(quiet))


def measure_student(
    student: Annotated[Path, typer.Argument(help="ONNX file, checkpoint folder, or a search's result folder.")],
    target: Annotated[
        str | None, typer.Option(help="Default: the verdict's in a result folder, else onnxruntime.")
    ] = None,
    threads: options.MaybeThreads = None,
    batch_size: options.MaybeBatchSize = None,
    sequence_length: options.MaybeSequenceLength = None,
    precision: options.MaybePrecision = None,
    earlier_tokens: Annotated[
        int | None, typer.Option(help="Tokens in a causal student's cache. Default: none, then all of the text.")
    ] = None,
    processes: Annotated[int, typer.Option(help="Fresh processes; the median over them counts.", min=1)] = 3,
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
) -> dict[str, Any]:
    """Time a student afresh: median, 90th percentile and noise floor over several processes."""
    from runs.progress import Progress
    from tailorbird.measuring import measure_files

    asked = {
        "batch_size": batch_size,
        "sequence_length": sequence_length,
        "threads": threads,
        "precision": precision,
        "earlier_tokens": earlier_tokens,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    return measure_files(student, target, given, processes, seed, Progress(quiet))


def profile_device_main() -> None:
    """Console script `profile-device`."""
    run_command("profile-device", profile_device, render.profiles)


def predict_latency_main() -> None:
    """Console script `predict-latency`."""
    run_command("predict-latency", predict_latency, render.predictions)


def nas_search_main() -> None:
    """Console script `nas-search`."""
    run_command("nas-search", nas_search, render.verdicts)


def distill_student_main() -> None:
    """Console script `distill-student`, which torchrun may start several times over."""
    run_shared_command("distill-student", distill_student, render.distilled)


def export_student_main() -> None:
    """Console script `export-student`."""
    run_command("export-student", export_student, render.exported)


def measure_student_main() -> None:
    """Console script `measure-student`."""
    run_command("measure-student", measure_student, render.measured)
