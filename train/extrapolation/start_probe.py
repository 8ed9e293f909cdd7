"""How the loss falls with the distance to the document's start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ...errors import require
from ..data.encode import separator_id
from .probe import Advance, Probe, Record, stream
from .probe_model import ProbeModel
from .probe_statistics import mean_interval


class StartProbe(Probe):
    """The loss of tokens by their index in the document, the first having index 1.

    For a length T the first T tokens of documents that have so many are scored, each given the separator and all
    tokens before it, in one window. So all ranges of one length are of the same documents, and the ranges of two
    lengths need not be: ``documents`` says how many there were, and a length that no document reaches gives one record
    that says so. Ranges of indices are 1, 2-3, 4-7, ...; intervals are over documents.

    Args:
        documents: the text.
        samples: documents of a length at most, drawn at random where there are more.

    Raises:
        ArgumentError: there are no documents, or ``samples`` is below 1.
    """

    name: ClassVar[str] = "start"

    def __init__(self, documents: Sequence[str], samples: int = 64) -> None:
        require(samples >= 1, "samples", "1 or more", samples)
        require(len(documents) > 0, "documents", "at least one document", len(documents))
        self.documents = documents
        self.samples = samples

    def prepare(self, tokenizer: PreTrainedTokenizerBase, lengths: list[int]) -> None:
        """See :class:`Probe`."""
        require(min(lengths) >= 1, "lengths", "1 or more", min(lengths))
        separator, longest = separator_id(tokenizer), max(lengths)
        self._ids: list[Tensor] = []
        for document in self.documents:
            encoded: Any = tokenizer(document, add_special_tokens=False, split_special_tokens=True, verbose=False)
            self._ids.append(torch.tensor([separator, *encoded["input_ids"][:longest]]))

    def tokens(self, length: int) -> int:
        """See :class:`Probe`."""
        return length * min(self.samples, self._long_enough(length))

    def measure(self, model: ProbeModel, length: int, seed: int, advance: Advance) -> list[Record]:
        """One record a range of indices."""
        rows = [ids[: length + 1] for ids in self._ids if len(ids) > length]
        common = {"probe": self.name, "length": length, "documents": min(len(rows), self.samples), "seed": seed}
        if not rows:
            nothing = dict.fromkeys(("first_index", "last_index", "loss", "loss_low", "loss_high"))
            return [{**common, **nothing, "tokens": 0}]
        order = torch.randperm(len(rows), generator=stream(seed, self.name, length))[: self.samples]
        taken = torch.stack([rows[i] for i in sorted(order.tolist())])
        parts = []
        for batch in taken.split(model.rows(length)):
            parts.append(model.score(batch, torch.arange(1, length + 1), choices=False).nll)
            advance(len(batch) * length)
        nll = torch.cat(parts)
        records = []
        for first in (1 << k for k in range(length.bit_length())):
            last = min(2 * first - 1, length)
            # every document has as many tokens in the range, so the mean of means is that of the tokens
            loss, low, high = mean_interval(nll[:, first - 1 : last].mean(dim=1).tolist())
            place = {"first_index": first, "last_index": last, "tokens": len(nll) * (last - first + 1)}
            records.append({**common, **place, "loss": loss, "loss_low": low, "loss_high": high})
        return records

    def _long_enough(self, length: int) -> int:
        return sum(len(ids) > length for ids in self._ids)
