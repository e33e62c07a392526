"""Results about devices and files for people: tables on stdout, from the same object that `--json` prints."""

from devices.disturbance import disturbances_from_json
from tailorbird.render_scores import distilled as distilled
from tailorbird.render_scores import verdicts as verdicts
from tailorbird.tables import Result, moment, ms, percent, table, workload


def profiles(result: Result) -> None:
    """For each profile and workload: the error on students no fit has seen, beside the baselines; then the machine."""
    for profile in result["profiles"]:
        for where, check in profile["check"].items():
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
            title = f"{profile['target']}, {where}: error in {check['students']} cases that no fit has seen"
            table(title, ["predictor", "MAPE", "within 5 %", "within 10 %", "Kendall τ"], rows)
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
            ms(one["latency_ms"]),
            f"{one['interval_ms'][0]:.2f}–{one['interval_ms'][1]:.2f}",
            ms(one["clocked_ms"]),
            f"{one['clocked_interval_ms'][0]:.2f}–{one['clocked_interval_ms'][1]:.2f}",
            "yes" if one["covered"] else "no: outside what was measured",
        ]
        for one in result["students"]
    ]
    title = f"Predicted on {result['target']}, {workload(result['workload'])}"
    headers = ["student", "weights", "alone", "90 % interval", "as usually clocked", "90 % interval", "covered"]
    table(title, headers, rows)
    for one in result["students"]:
        for note in one["notes"]:
            print(f"{one['student']}: {note}.")


def exported(result: Result) -> None:
    """Size, parity and agreement of each file, what the gate said, and how other runtimes did."""
    rows = [
        [
            one["file"],
            f"{one['bytes'] / 1e6:.1f} MB",
            f"{one['max_abs_error']:.1e}",
            f"{percent(one['agreement'])} of {one['examples']}",
            ms(one["latency_ms"]) if one["latency_ms"] else "–",
            f"{one['gate']['speedup']:.2f} ×" if one["gate"] else "–",
        ]
        for one in result["files"]
    ]
    headers = ["file", "size", "largest error", f"agreement on {result['compared_on']}", "p50", "speed beside fp32"]
    table(f"Exported to {result['output']}", headers, rows)
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
            percent(one["agreement"]),
            ms(one["latency_ms"]),
            f"{one['size_bytes'] / 1e6:.1f} MB",
            f"{one['peak_memory_bytes'] / 2**20:.0f} MiB",
        ]
        for one in result["runtimes"]
    ]
    headers = ["runtime", "agreement", "p50", "size", "peak memory"]
    table(f"Verified, {workload(result['workload'])}", headers, rows)
    rows = [[one["provider"], percent(one["fallback_share"])] for one in result["mobile"]]
    table("Operators that a phone's accelerator would leave to the processor", ["provider", "share"], rows)


def measured(result: Result) -> None:
    """Median over processes, 90th percentile and noise floor of each file."""
    rows = [
        [
            one["file"] + moment(one, result["measurements"]),
            one["target"],
            one["precision"],
            ms(one["p50_ms"]),
            ms(one["p90_ms"]),
            f"{one['noise_floor_percent']:.1f} %",
            str(len(one["process_medians_ms"])),
        ]
        for one in result["measurements"]
    ]
    headers = ["file", "target", "precision", "p50", "p90", "noise floor", "processes"]
    table(f"Measured, {workload(result['workload'])}", headers, rows)
    if "budget_ms" in result:
        kept = "within" if result["within_budget"] else "OVER"
        print(f"{kept} the budget of {result['budget_ms']:g} ms.")
