"""`predict-latency` of stock checkpoints: from the config alone, with what the spec leaves out said."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_world import DISTURBANCE

from runs.errors import UserError
from tailorbird import render
from tailorbird.commands import predict_latency

ROBERTA = {
    "model_type": "roberta",
    "architectures": ["RobertaForSequenceClassification"],
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 90,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
}
DISTILBERT = {
    "model_type": "distilbert",
    "architectures": ["DistilBertForMaskedLM"],
    "dim": 32,
    "n_layers": 2,
    "n_heads": 2,
    "hidden_dim": 64,
    "vocab_size": 90,
    "max_position_embeddings": 512,
}


def folder(root: Path, settings: dict[str, Any]) -> str:
    path = root / str(settings["model_type"])
    path.mkdir()
    (path / "config.json").write_text(json.dumps(settings))
    return str(path)


def test_stock_checkpoints_are_predicted_by_their_config_alone(
    world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [folder(tmp_path, ROBERTA), folder(tmp_path, DISTILBERT)]
    result = predict_latency(names, profile=world.profile, sequence_length=16, quiet=True)
    roberta, distilbert = result["students"]
    assert [one["student"] for one in result["students"]] == names
    assert roberta["latency_ms"] > 0 and distilbert["latency_ms"] > 0
    assert roberta["clocked_ms"] == pytest.approx(DISTURBANCE.usual * roberta["latency_ms"])
    (low, high), (least, most) = roberta["interval_ms"], roberta["clocked_interval_ms"]
    assert low < roberta["latency_ms"] < high and least < roberta["clocked_ms"] < most
    assert most / least > high / low, "what disturbs the machine is one doubt more"
    assert any("first token alone" in note for note in roberta["notes"])
    assert any("token types" in note for note in distilbert["notes"])
    short = folder(tmp_path, {**ROBERTA, "model_type": "bert", "max_position_embeddings": 8})
    (only,) = predict_latency([short], profile=world.profile, sequence_length=16, quiet=True)["students"]
    assert only["notes"][-1] == "it has 8 positions, too few for such texts"
    render.predictions(result)
    assert f"{names[1]}: one row of token types" in capsys.readouterr().out


def test_other_model_types_are_refused_in_one_sentence(world: Any, tmp_path: Path) -> None:
    other = folder(tmp_path, {"model_type": "llama"})
    with pytest.raises(UserError, match="type 'llama': only bert, roberta"):
        predict_latency([other], profile=world.profile, quiet=True)
