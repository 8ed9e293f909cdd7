"""What the notebooks share: training for a moment on the English that every Python carries, and lines with bands."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import torch
from lmzoo.layers import CrossEntropy, Loss
from lmzoo.models import Decoder
from lmzoo.train.figures.canvas import LIGHT
from torch import Tensor

pd.set_option("display.max_colwidth", None)  # claims are sentences
torch.set_num_threads(1)  # small tensors gain nothing from more, and a shared machine loses


def text_bytes() -> Tensor:
    """The language reference that ``help()`` shows, as bytes: a vocabulary of 256, and no tokenizer to train."""
    from pydoc_data.topics import topics

    return torch.tensor(list("\n\n".join(topics[name] for name in sorted(topics)).encode()))


def batch(ids: Tensor, step: int, *, seed: int, rows: int = 8, length: int = 64) -> Tensor:
    """The windows of one step: a function of seed and step alone, so that every model sees the same."""
    generator = torch.Generator().manual_seed(1_000_003 * seed + step)
    starts = torch.randint(len(ids) - length, (rows, 1), generator=generator)
    return ids[starts + torch.arange(length)]


def train(
    model: Decoder, ids: Tensor, *, loss: Loss | None = None, steps: int = 40, rate: float = 0.01, seed: int = 0
) -> list[float]:
    """Train; returns the plain cross-entropy of each step in nats a token, whatever loss is optimised."""
    loss = loss or CrossEntropy()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    curve = []
    for step in range(steps):
        windows = batch(ids, step, seed=seed)
        nll = model.nll(windows).flatten()
        optimizer.zero_grad()
        loss(nll, windows[:, 1:].flatten()).backward()
        optimizer.step()
        curve.append(float(nll.detach().mean()))
    return curve


def lines(frame: pd.DataFrame, x: str, y: str, *, baseline: str, variants: list[str] | None = None) -> None:
    """A line a variant, the mean over its seeds, in a band from the lowest seed to the highest."""
    names = [name for name in variants or dict.fromkeys(frame["variant"]) if (frame["variant"] == name).any()]
    for name, (colour, stroke) in LIGHT.styles(names, baseline).items():
        own = frame[frame["variant"] == name].groupby(x)[y].agg(["mean", "min", "max"])
        plt.plot(own.index, own["mean"], color=colour, linestyle=stroke, label=name)
        plt.fill_between(own.index.astype(float), own["min"], own["max"], color=colour, alpha=0.2, linewidth=0)
    plt.legend(frameon=False)
