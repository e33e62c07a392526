"""A command's result for people: tables on stdout, made from the same object that `--json` prints."""

from typing import Any

from rich.console import Console
from rich.table import Table

from devices.disturbance import disturbances_from_json

Result = dict[str, Any]

PIPED_WIDTH = 120
"""Characters of a line where there is no terminal to ask."""


def _table(title: str, headers: list[str], rows: list[list[str]], *, figures: bool = True) -> None:
    """`figures`: every column but the first is aligned to the right."""
    table = Table(show_header=any(headers))
    for number, header in enumerate(headers):
        table.add_column(header, justify="right" if figures and number > 0 else "left")
    for row in rows:
        table.add_row(*row)
    console = Console(width=None if Console().is_terminal else PIPED_WIDTH, highlight=False)
    # A title of the table's own would be folded to the table's width.
    console.print(title, style="bold", markup=False)
    console.print(table)


def _ms(value: float) -> str:
    return f"{value:.2f} ms"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def profiles(result: Result) -> None:
    """For each profile and workload: the error on students no fit has seen, beside the baselines; then the machine."""
    for profile in result["profiles"]:
        for workload, check in profile["check"].items():
            rows = [
                [
                    name,
                    f"{errors['mape_percent']:.1f} %",
                    f"{errors['within_5_percent']:.0f} %",
                    f"{errors['within_10_percent']:.0f} %",
                    f"{errors['kendall']:.3f}",
                ]
                for name, errors in check["errors"].items()
            ]
            title = f"{profile['target']}, {workload}: error in {check['students']} cases that no fit has seen"
            _table(title, ["predictor", "MAPE", "within 5 %", "within 10 %", "Kendall τ"], rows)
            print(
                f"Noise floor: {check['noise_floor_percent']:.1f} % between the fastest samples of two processes. "
                f"The 90 % interval held {check['covered_percent']:.0f} %."
            )
        for (threads, precision), found in disturbances_from_json(profile["disturbances"]).items():
            plural = "s" if threads > 1 else ""
            print(f"By the clock, models took {found.words}: {threads} thread{plural}, {precision}.")
        print(f"Machine {profile['stability']['words']}")
        print(profile["error_budget"]["words"])
        if profile["adapted_from"]:
            origin = profile["adapted_from"]
            print(f"Adapted by {origin['samples']} measurements from {origin['folder']} ({origin['target']}).")
        print(f"Profile, {profile['seconds']:.0f} s of work: {profile['folder']}")


def predictions(result: Result) -> None:
    """One line a student: predicted milliseconds and their 90 % interval, on the machine alone and by the clock."""
    rows = [
        [
            one["student"],
            f"{one['parameters'] / 1e6:.1f} M",
            _ms(one["latency_ms"]),
            f"{one['interval_ms'][0]:.2f}–{one['interval_ms'][1]:.2f}",
            _ms(one["clocked_ms"]),
            f"{one['clocked_interval_ms'][0]:.2f}–{one['clocked_interval_ms'][1]:.2f}",
            "yes" if one["covered"] else "no: outside what was measured",
        ]
        for one in result["students"]
    ]
    title = f"Predicted on {result['target']}, {_workload(result['workload'])}"
    headers = ["student", "weights", "alone", "90 % interval", "as usually clocked", "90 % interval", "covered"]
    _table(title, headers, rows)
    for one in result["students"]:
        for note in one["notes"]:
            print(f"{one['student']}: {note}.")


def _workload(workload: Result) -> str:
    return (
        f"batch {workload['batch_size']}, sequence {workload['sequence_length']}, "
        f"{workload['threads']} thread{'s' if workload['threads'] > 1 else ''}, {workload['precision']}"
    )


def verdicts(result: Result) -> None:
    """What was promised and what was measured, a table a budget."""
    for verdict in result["verdicts"]:
        _verdict(verdict)


def _verdict(verdict: Result) -> None:
    latency, score, student, teacher = (verdict[key] for key in ("latency_ms", "score", "student", "teacher"))
    kept = "within" if verdict["within_budget"] else "OVER"
    low, high = latency["interval"]
    rows = [
        ["budget", f"{verdict['budget_ms']:g} ms on {verdict['target']}, {_workload(verdict['workload'])}"],
        ["measured", f"{_ms(latency['measured_p50'])} (p90 {_ms(latency['measured_p90'])}), {kept} the budget"],
        [
            "predicted",
            f"{_ms(latency['predicted'])}, 90 % interval {low:.2f}–{high:.2f} ms, on a machine as disturbed as usual",
        ],
        ["noise floor", f"{latency['noise_floor_percent']:.1f} %"],
        [
            "teacher",
            f"{teacher['name']} ({teacher['licence']}): {teacher['parameters'] / 1e6:.1f} M, "
            f"{_ms(teacher['latency_ms'])}",
        ],
        ["student", f"{_shape(student['spec'])}: {student['parameters'] / 1e6:.1f} M"],
        ["speed-up", f"{verdict['speedup']:.2f}×"],
        [
            f"{score['split']} {score['metric']}",
            f"student {_percent(score['student'])}, teacher "
            f"{_percent(score['teacher'])}, bag-of-words {_percent(score['bag_of_words'])}",
        ],
        ["kept", f"{_percent(score['retained'])} of the teacher's score, {_gap(score['gap_kept'])}"],
        [
            "fp32 parity",
            f"largest error {verdict['parity']['max_abs_error']:.1e}, "
            f"label agreement {_percent(verdict['parity']['agreement'])}",
        ],
        *[
            [
                file["file"],
                f"{file['bytes'] / 1e6:.1f} MB, {_ms(file['latency_ms'])} on ONNX Runtime, agreement "
                f"{_percent(file['agreement'])}",
            ]
            for file in student["files"]
        ],
        ["data", f"{verdict['data']['name']} ({verdict['data']['licence']}): {verdict['data']['source']}"],
        ["method", f"{verdict['method']}, effort {verdict['effort']}: {verdict['schedule']['candidates']} candidates"],
    ]
    _table("Verdict", ["", ""], rows, figures=False)
    if "folder" in verdict:
        print(f"Student, files and report: {verdict['folder']}")


def _gap(share: float | None) -> str:
    if share is None:
        return "bag-of-words matches the teacher, so the task decides nothing"
    if share < 0:
        return "below bag-of-words"
    return f"{_percent(share)} of the gap from bag-of-words to teacher"


def _shape(spec: Result) -> str:
    layers = spec["layers"]
    widths = sorted({layer["ffn_width"] for layer in layers})
    heads = sorted({layer["heads"] for layer in layers})
    span = [f"{values[0]}" if len(values) == 1 else f"{values[0]}–{values[-1]}" for values in (heads, widths)]
    return f"{len(layers)} layers × {spec['hidden_width']}, heads {span[0]}, FFN {span[1]}"


def distilled(result: Result) -> None:
    """The student's score beside teacher and bag-of-words."""
    score = result["score"]
    rows = [[name, _percent(score[name])] for name in ("teacher", "student", "bag_of_words")]
    _table(f"Test {score['metric']} on {result['data']['name']}", ["model", score["metric"]], rows)
    print(f"Kept: {_percent(score['retained'])} of the teacher's score, {_gap(score['gap_kept'])}.")
    print(f"Student: {result['student']}")


def exported(result: Result) -> None:
    """Size, parity and agreement of each file, what the gate said, and how other runtimes did."""
    rows = [
        [
            one["file"],
            f"{one['bytes'] / 1e6:.1f} MB",
            f"{one['max_abs_error']:.1e}",
            f"{_percent(one['agreement'])} of {one['examples']}",
            _ms(one["latency_ms"]) if one["latency_ms"] else "–",
            f"{one['gate']['speedup']:.2f} ×" if one["gate"] else "–",
        ]
        for one in result["files"]
    ]
    headers = ["file", "size", "largest error", f"agreement on {result['compared_on']}", "p50", "speed beside fp32"]
    _table(f"Exported to {result['output']}", headers, rows)
    for verdict in result["refused"].values():
        print(f"Refused: {verdict['reason']}")
    if result["vocabulary"]:
        print(f"Vocabulary: {result['vocabulary']['kept']:,} of {result['vocabulary']['whole']:,} tokens kept.")
    if "runtimes" in result:
        _proofs(result)
    for name in ("stock", "bundle"):
        if name in result:
            print(f"{name.capitalize()} folder: {result[name]}")


def _proofs(result: Result) -> None:
    rows = [
        [
            f"{one['runtime']} {one['version']}",
            _percent(one["agreement"]),
            _ms(one["latency_ms"]),
            f"{one['size_bytes'] / 1e6:.1f} MB",
            f"{one['peak_memory_bytes'] / 2**20:.0f} MiB",
        ]
        for one in result["runtimes"]
    ]
    headers = ["runtime", "agreement", "p50", "size", "peak memory"]
    _table(f"Verified, {_workload(result['workload'])}", headers, rows)
    rows = [[one["provider"], _percent(one["fallback_share"])] for one in result["mobile"]]
    _table("Operators that a phone's accelerator would leave to the processor", ["provider", "share"], rows)


def measured(result: Result) -> None:
    """Median over processes, 90th percentile and noise floor of each file."""
    rows = [
        [
            one["file"],
            one["target"],
            one["precision"],
            _ms(one["p50_ms"]),
            _ms(one["p90_ms"]),
            f"{one['noise_floor_percent']:.1f} %",
            str(len(one["process_medians_ms"])),
        ]
        for one in result["measurements"]
    ]
    headers = ["file", "target", "precision", "p50", "p90", "noise floor", "processes"]
    _table(f"Measured, {_workload(result['workload'])}", headers, rows)
    if "budget_ms" in result:
        kept = "within" if result["within_budget"] else "OVER"
        print(f"{kept} the budget of {result['budget_ms']:g} ms.")
