"""The real all-MiniLM-L6-v2, fetched as users get it: read as a student of ours, it answers what stock BERT answers."""

import pytest
import torch
from transformers import AutoTokenizer, BertModel

from distill.embedded import minilm_folder
from runs.progress import Progress
from students.bert import bert_from_student, load_model

TEXTS = ["A film of rare charm.", "dull , overlong and , in the end , pointless", "naïve café 漢字 🙂", ""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAILORBIRD_HOME", str(tmp_path_factory.mktemp("home")))
        yield minilm_folder(Progress(quiet=True))


@torch.no_grad()
def test_minilm_answers_as_in_transformers(folder, tmp_path):
    tokens = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    stock = BertModel.from_pretrained(folder).eval()(**tokens).last_hidden_state
    ours = load_model(folder)
    assert (ours(**tokens).last_hidden_state - stock).abs().max() <= 1e-5
    bert_from_student(ours).save_pretrained(tmp_path)
    again = BertModel.from_pretrained(tmp_path).eval()(**tokens).last_hidden_state
    assert (again - stock).abs().max() <= 1e-5
