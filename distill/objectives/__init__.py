"""Losses between a student and its teacher by name: one small function each, a file a kind of knowledge."""

# Importing them is what files them in the registry.
from distill.objectives import answers, attention, hidden, relational, relations
from distill.objectives.contract import (
    OBJECTIVES,
    AnswerObjective,
    Answers,
    LayerObjective,
    Match,
    Objective,
)

__all__ = [
    "OBJECTIVES",
    "AnswerObjective",
    "Answers",
    "LayerObjective",
    "Match",
    "Objective",
    "answers",
    "attention",
    "hidden",
    "relational",
    "relations",
]
