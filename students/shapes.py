"""Published student shapes by name, as far as they are given in numbers and made of plain layers."""

from runs.registry import Registry
from students.spec import StudentSpec, uniform_spec

SHAPES: Registry[StudentSpec] = Registry("shape")
"""Shape only, with BERT's English vocabulary and a two-label head; weights and training are another matter."""

# name: layers, hidden, heads, feed-forward, and the qkv width where it is not the hidden width
_SIZES: dict[str, tuple[int, int, int, int, int | None]] = {
    # Devlin et al. 2019 and Turc et al. 2019
    "bert-base": (12, 768, 12, 3072, None),
    "bert-medium": (8, 512, 8, 2048, None),
    "bert-small": (4, 512, 8, 2048, None),
    "bert-mini": (4, 256, 4, 1024, None),
    "bert-tiny": (2, 128, 2, 512, None),
    # Sanh et al. 2019; its release also drops token types
    "distilbert": (6, 768, 12, 3072, None),
    # Jiao et al. 2020
    "tinybert-6": (6, 768, 12, 3072, None),
    "tinybert-4": (4, 312, 12, 1200, None),
    # Wang et al. 2020
    "minilm-6": (6, 768, 12, 3072, None),
    "minilm-l6-h384": (6, 384, 12, 1536, None),
    "minilm-l12-h384": (12, 384, 12, 1536, None),
    # AutoTinyBERT, Yin et al. 2021: found for masked-LM pre-training (s), and for distillation (kd-s)
    "autotinybert-s1": (5, 564, 8, 1054, 512),
    "autotinybert-s2": (4, 396, 6, 624, 384),
    "autotinybert-s3": (4, 432, 4, 384, 256),
    "autotinybert-s4": (3, 320, 4, 608, 256),
    "autotinybert-kd-s1": (5, 564, 12, 1024, 528),
    "autotinybert-kd-s2": (5, 324, 12, 600, 324),
    "autotinybert-kd-s3": (5, 280, 12, 512, 276),
    "autotinybert-kd-s4": (4, 256, 12, 480, 192),
}

for _name, (_layers, _hidden, _heads, _ffn, _qkv) in _SIZES.items():
    SHAPES.register(_name)(uniform_spec(_layers, _hidden, _heads, _ffn, qkv_width=_qkv))
