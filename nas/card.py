"""The student's model card: where it comes from, what it can do, how fast it is, and how all of that was found."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from distill.card import PIPELINES, auto_class
from distill.score_text import score_text
from nas.use import used_as_encoder
from nas.verdict import cut_text, tried_text
from students.shape_text import shape_text
from students.spec import Layer, StudentSpec

CARD_FILE = "README.md"


def _numbers(layer: Layer) -> str:
    """What a layer has beside its feed-forward, in words."""
    plain = {name: value for name, value in asdict(layer).items() if name not in ("ffn_width", "activation")}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in plain.items())


def _tokens(workload: Mapping[str, Any]) -> str:
    """How many tokens were read, in words."""
    earlier = workload.get("earlier_tokens", 0)
    return f"the next token after {earlier}" if earlier else f"{workload['sequence_length']} tokens"


def _first_tokens(files: Sequence[Mapping[str, Any]], workload: Mapping[str, Any]) -> list[str]:
    """Lines on what the first token of a text takes, where files write on."""
    firsts = [f"`{file['file']}` {file['first_token_ms']:.2f} ms" for file in files if "first_token_ms" in file]
    if not firsts:
        return []
    return ["", f"The first token, which reads {workload['earlier_tokens']} of a text: {', '.join(firsts)}."]


def model_card(verdict: dict[str, Any]) -> str:
    """Markdown with the metadata header that model hubs read."""
    data, score, latency, student = (verdict[key] for key in ("data", "score", "latency_ms", "student"))
    workload, schedule, teacher, device = (verdict[key] for key in ("workload", "schedule", "teacher", "device"))
    spec = StudentSpec.from_json(student["spec"])
    gap = "Bag-of-words matches the teacher, so that the task decides nothing."
    if score["gap_kept"] is not None:
        gap = f"The student keeps {100 * score['gap_kept']:.1f} % of the gap from bag-of-words to the teacher."
    low, high = latency["interval"]
    waited = ""
    if latency["discarded_ms"]:
        earlier = " and ".join(f"{student:.2f} and {teacher:.2f} ms" for student, teacher in latency["discarded_ms"])
        waited = (
            f" Timed again after a while, because the machine had slowed: student and teacher took {earlier} before."
        )
    layers = [
        f"| {number} | {layer.type} | {_numbers(layer)} | {layer.ffn_width} | {layer.activation} |"
        for number, layer in enumerate(spec.layers, 1)
    ]
    files = [
        f"| {file['file']} | {file['precision']} | {file['bytes'] / 1e6:.1f} MB | {file['latency_ms']:.2f} ms "
        f"| {file['memory_bytes'] / 1e6:.0f} MB "
        f"| {100 * file['agreement']:.2f} % |"
        for file in student["files"]
    ]
    lines = [
        "---",
        "library_name: transformers",
        f"pipeline_tag: {PIPELINES[verdict['task']]}",
        "tags: [tailorbird, knowledge-distillation, neural-architecture-search]",
        "---",
        f"# Student of {teacher['name']} for {verdict['budget_ms']:g} ms on {verdict['target']}",
        "",
        f"{shape_text(spec)}; {student['parameters']:,} weights. Found by the search method `{verdict['method']}` "
        f"(effort `{verdict['effort']}`, {tried_text(schedule)}, seed {verdict['seed']}), then distilled from the "
        f"teacher{cut_text(schedule)}.",
        "",
        "## Data and licences",
        "",
        f"Trained on {data['name']}, licence: {data['licence']}. Source: {data['source']}. The student is derived from "
        f"the teacher {teacher['name']}, licence: {teacher['licence']}. Both bind the use of this model.",
        "",
        "## Scores",
        "",
        f"| model | {score['split']} {score['metric']} |",
        "|---|---|",
        f"| teacher ({teacher['parameters']:,} weights) | {score_text(score['metric'], score['teacher'])} |",
        f"| student | {score_text(score['metric'], score['student'])} |",
        f"| bag-of-words | {score_text(score['metric'], score['bag_of_words'])} |",
        "",
        f"{gap} The test split was read once, after the search.",
        "",
        "## Latency",
        "",
        f"Median {latency['measured_p50']:.2f} ms, 90th percentile {latency['measured_p90']:.2f} ms "
        f"({'within' if verdict['within_budget'] else 'OVER'} the budget of {verdict['budget_ms']:g} ms; predicted "
        f"{latency['predicted']:.2f} ms, interval {low:.2f}-{high:.2f}). The teacher, timed "
        f"as {teacher['timed_as']}, takes {teacher['latency_ms']:.2f} ms, {verdict['speedup']:.2f} times as long.",
        "",
        f"Measured on {device['processor']} with target {verdict['target']}: batch {workload['batch_size']}, "
        f"{_tokens(workload)}, {workload['threads']} thread(s), {workload['precision']}; the median "
        f"over {latency['processes']} fresh processes, noise floor {latency['noise_floor_percent']:.1f} %."
        f"{waited}",
        "",
        "| file | precision | size | ONNX Runtime | memory | agreement |",
        "|---|---|---|---|---|---|",
        *files,
        *_first_tokens(student["files"], workload),
        "",
        f"Largest difference between the checkpoint's and the fp32 file's outputs: "
        f"{verdict['parity']['max_abs_error']:.1e}.",
        "",
        "## Architecture",
        "",
        f"Embedding {spec.embedding_width} wide, hidden state {spec.hidden_width}, vocabulary {spec.vocabulary_size}, "
        f"{spec.maximum_positions} positions.",
        "",
        "| layer | type | numbers | FFN width | activation |",
        "|---|---|---|---|---|",
        *layers,
    ]
    lines += ["", f"After `import students.model`, `{auto_class(verdict['task'])}.from_pretrained(folder)` loads it."]
    if used_as_encoder(verdict["task"]):
        lines += [
            "",
            "Milliseconds, weights and files are those of its encoder, whose hidden states are what a task reads. A "
            "file agrees on a text where the cosine of its states and the checkpoint's is at least 0.98. "
            "`distill-student --initialization FOLDER` starts a student of a task from this folder.",
        ]
    return "\n".join(lines) + "\n"
