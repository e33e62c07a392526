"""Scores for people; without torch, so that commands which only print them start at once."""

SHARES = ("accuracy", "macro_f1", "f1", "exact_match")
"""Scores that are shares of something, and read best in percent."""


def figure_text(name: str, value: float) -> str:
    """A score by its name: a share in percent, else four digits."""
    return f"{100 * value:.1f} %" if name in SHARES else f"{value:.4g}"


def score_text(name: str, value: float) -> str:
    """The same, of what stands for a perplexity with that beside it."""
    perplexity = f" (perplexity {1 / value:.4g})" if name == "inverse_perplexity" and value else ""
    return figure_text(name, value) + perplexity
