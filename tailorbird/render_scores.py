"""Results about students and their scores for people: tables on stdout, from the same object that `--json` prints."""

from distill.score_text import figure_text, score_text
from students.shape_text import shape_text
from students.spec import StudentSpec
from tailorbird.tables import Result, ms, percent, table, workload


def verdicts(result: Result) -> None:
    """What was promised and what was measured, a table a budget."""
    for verdict in result["verdicts"]:
        _verdict(verdict)


def _verdict(verdict: Result) -> None:
    latency, score, student, teacher = (verdict[key] for key in ("latency_ms", "score", "student", "teacher"))
    kept = "within" if verdict["within_budget"] else "OVER"
    low, high = latency["interval"]
    rows = [
        ["budget", f"{verdict['budget_ms']:g} ms on {verdict['target']}, {workload(verdict['workload'])}"],
        ["measured", f"{ms(latency['measured_p50'])} (p90 {ms(latency['measured_p90'])}), {kept} the budget"],
        [
            "predicted",
            f"{ms(latency['predicted'])}, 90 % interval {low:.2f}–{high:.2f} ms, on a machine as disturbed as usual",
        ],
        ["noise floor", f"{latency['noise_floor_percent']:.1f} %"],
        [
            "teacher",
            f"{teacher['name']} ({teacher['licence']}): {teacher['parameters'] / 1e6:.1f} M, "
            f"{ms(teacher['latency_ms'])}{_timed(teacher['timed_as'])}",
        ],
        ["student", f"{shape_text(StudentSpec.from_json(student['spec']))}: {student['parameters'] / 1e6:.1f} M"],
        *_precision(verdict.get("tried", []), score["metric"]),
        *_limits(verdict["limits"]),
        ["speed-up", f"{verdict['speedup']:.2f}×"],
        [
            f"{score['split']} {score['metric']}",
            ", ".join(
                f"{whose} {score_text(score['metric'], score[key])}"
                for whose, key in (("student", "student"), ("teacher", "teacher"), ("bag-of-words", "bag_of_words"))
            ),
        ],
        ["kept", _kept(score)],
        [
            "fp32 parity",
            f"largest error {verdict['parity']['max_abs_error']:.1e}, "
            f"agreement {percent(verdict['parity']['agreement'])}",
        ],
        *[
            [
                file["file"],
                f"{file['bytes'] / 1e6:.1f} MB, {ms(file['latency_ms'])} on ONNX Runtime{_first(file)}{_memory(file)}, "
                f"agreement {percent(file['agreement'])}",
            ]
            for file in student["files"]
        ],
        ["data", f"{verdict['data']['name']} ({verdict['data']['licence']}): {verdict['data']['source']}"],
        ["method", f"{verdict['method']}, effort {verdict['effort']}: {verdict['schedule']['candidates']} candidates"],
    ]
    table("Verdict", ["", ""], rows, figures=False)
    if "folder" in verdict:
        print(f"Student, files and report: {verdict['folder']}")


def _precision(tried: list[Result], metric: str) -> list[list[str]]:
    found = [f"{row['precision']} {score_text(metric, row['validation'])}" for row in tried]
    return [["precision", f"chosen by the answers on validation: {', '.join(found)}"]] if found else []


def _limits(limits: Result) -> list[list[str]]:
    asked = []
    if limits["parameters"] is not None:
        asked.append(f"at most {limits['parameters'] / 1e6:g} M weights")
    if limits["file_bytes"] is not None:
        asked.append(f"{limits['file']} of at most {limits['file_bytes'] / 1e6:g} MB")
    # Verdicts of earlier versions know nothing of memory.
    if limits.get("memory_bytes") is not None:
        asked.append(f"at most {limits['memory_bytes'] / 1e6:g} MB of memory")
    return [["limits", f"{' and '.join(asked)}: {'kept' if limits['kept'] else 'MISSED'}"]] if asked else []


def _first(file: Result) -> str:
    """What the first token takes, where a file writes on."""
    return f" (the first token {ms(file['first_token_ms'])})" if "first_token_ms" in file else ""


def _memory(file: Result) -> str:
    return f" in {file['memory_bytes'] / 1e6:.0f} MB of memory" if "memory_bytes" in file else ""


def _timed(what: str) -> str:
    return "" if what == "itself" else f" as {what}"


def _kept(score: Result) -> str:
    if score["retained"] is None:
        return f"nothing can be said, the teacher's {score['metric']} is 0"
    return f"{percent(score['retained'])} of the teacher's {score['metric']}, {_gap(score['gap_kept'])}"


def _gap(share: float | None) -> str:
    if share is None:
        return "bag-of-words matches the teacher, so the task decides nothing"
    if share < 0:
        return "below bag-of-words"
    return f"{percent(share)} of the gap from bag-of-words to teacher"


UNEVEN = 2.0
"""So many times as many examples of one class as of another are worth a word."""


def _all_scores(result: Result) -> dict[str, Result]:
    """By model, its scores by name; of bag-of-words there is the one that counts."""
    score = result["score"]
    words = {score["metric"]: score["bag_of_words"]}
    if score["metric"] == "inverse_perplexity" and score["bag_of_words"]:
        words["perplexity"] = 1 / score["bag_of_words"]
    return {**result["scores"], "bag-of-words": words}


def distilled(result: Result) -> None:
    """All scores of student and teacher, bag-of-words beside them, and what was kept."""
    score, data = result["score"], result["data"]
    models = _all_scores(result)
    names = list(models["student"])
    rows = [
        [model, *(figure_text(name, found[name]) if name in found else "–" for name in names)]
        for model, found in models.items()
    ]
    table(f"{score['split'].capitalize()} split of {data['name']}", ["model", *names], rows)
    print(f"Kept: {_kept(score)}.")
    if (data.get("imbalance") or 1.0) >= UNEVEN:
        print(
            f"Classes are uneven, the most frequent has {data['imbalance']:.1f} times as many training examples as the "
            "rarest: macro_f1 counts all classes alike."
        )
    print(f"Student: {result['student']}")
