"""The reward predictor of KD-NAS: gene embeddings, an LSTM over three candidates, one number out."""

from collections.abc import Sequence
from math import sqrt

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

EMBEDDING_WIDTH = 32
HIDDEN_WIDTH = 32
LEARNING_RATE = 1e-4
PASSES = 200
"""Full-batch steps of one fit. The paper's number is not known; at this rate 50 learn less, and 1,000 no more."""


class RewardPredictor(nn.Module):
    """Reads [n, 3, genes] codes and predicts n rewards.

    docs/methods.md, second-hand there: one 32-wide embedding per gene, concatenated; LSTM of width 32; linear to a
    scalar. Every gene has one more row than values, for a candidate that does not exist yet (code -1).
    """

    def __init__(self, cardinalities: Sequence[int], seed: int) -> None:
        super().__init__()
        rows = np.array(cardinalities) + 1
        self.offsets: torch.Tensor
        self.register_buffer("offsets", torch.from_numpy(np.cumsum(rows) - rows + 1))
        self.embedding = nn.Embedding(int(rows.sum()), EMBEDDING_WIDTH)
        self.lstm = nn.LSTM(EMBEDDING_WIDTH * len(rows), HIDDEN_WIDTH, batch_first=True)
        self.score = nn.Linear(HIDDEN_WIDTH, 1)
        # torch's own initializers draw from the process-wide generator, which other work also moves.
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.embedding.weight.normal_(generator=generator)
            for parameter in [*self.lstm.parameters(), *self.score.parameters()]:
                parameter.uniform_(-1 / sqrt(HIDDEN_WIDTH), 1 / sqrt(HIDDEN_WIDTH), generator=generator)

    def forward(self, sequences: torch.Tensor) -> torch.Tensor:
        """Codes [n, 3, genes] → predicted rewards [n]."""
        embedded = self.embedding(sequences + self.offsets).flatten(2)
        states, _ = self.lstm(embedded)
        scores: torch.Tensor = self.score(states[:, -1]).squeeze(-1)
        return scores

    def predict(self, sequences: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Codes [n, 3, genes] → predicted rewards [n], in parts so that a large pool needs little memory."""
        with torch.inference_mode():
            parts = [self(part) for part in torch.from_numpy(np.ascontiguousarray(sequences)).split(4096)]
        return torch.cat(parts).double().numpy()


def fit_reward_predictor(
    cardinalities: Sequence[int],
    sequences: npt.NDArray[np.int64],
    rewards: npt.NDArray[np.float64],
    seed: int,
    passes: int = PASSES,
) -> RewardPredictor:
    """Fit by mean squared error with RMSprop at 1e-4 on [n, 3, genes] codes and n rewards, all at once.

    The numbers are those of docs/methods.md, second-hand there; `passes` is our own.
    """
    predictor = RewardPredictor(cardinalities, seed)
    optimizer = torch.optim.RMSprop(predictor.parameters(), lr=LEARNING_RATE)
    inputs, wanted = torch.from_numpy(sequences), torch.from_numpy(rewards).float()
    for _ in range(passes):
        optimizer.zero_grad()
        nn.functional.mse_loss(predictor(inputs), wanted).backward()
        optimizer.step()
    return predictor
