"""How the loss falls with the distance to the document's start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ....errors import require
from ...data.encode import separator_id
from ...figures.statistics.spread import mean_interval
from ...storage import Record
from ..frame import Advance
from .probe import Probe, ProbeModel, stream, with_interval


class StartProbe(Probe):
    """The loss of tokens by their index in the document, the first having index 1.

    For a length T the first T tokens of documents that have so many are scored, each given the separator and all
    tokens before it, in one window. So all ranges of one length are of the same documents, and the ranges of two
    lengths need not be: ``documents`` says how many there were, and a length that no document reaches gives one record
    that says so. Ranges of indices are 1, 2, 3-4, 5-8, ...; intervals are over documents.

    Args:
        documents: the text.
        samples: documents of a length at most; where there are more, the first long enough ones in an order that the
            seed draws, so that two lengths share what they can.

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
        require(min(lengths) >= 1, "lengths", "1 or more", min(lengths))
        separator, longest = separator_id(tokenizer), max(lengths)
        self._ids: list[Tensor] = []
        for document in self.documents:
            encoded: Any = tokenizer(document, add_special_tokens=False, split_special_tokens=True, verbose=False)
            self._ids.append(torch.tensor([separator, *encoded["input_ids"][:longest]]))

    def tokens(self, length: int) -> int:
        return length * min(self.samples, self._long_enough(length))

    def measure(self, model: ProbeModel, length: int, seed: int, advance: Advance) -> list[Record]:
        order = torch.randperm(len(self._ids), generator=stream(seed, self.name)).tolist()
        rows = [self._ids[i][: length + 1] for i in order if len(self._ids[i]) > length][: self.samples]
        common = {"probe": self.name, "length": length, "samples": self.samples, "documents": len(rows), "seed": seed}
        if not rows:
            nothing = dict.fromkeys(("first_index", "last_index", "loss", "loss_low", "loss_high"))
            return [{**common, **nothing, "tokens": 0}]
        parts = []
        for batch in torch.stack(rows).split(model.rows(length)):
            parts.append(model.score(batch, torch.arange(1, length + 1), choices=False).nll)
            advance(len(batch) * length)
        nll = torch.cat(parts)
        records = []
        firsts = [1, *((1 << k) + 1 for k in range((length - 1).bit_length()))]
        for first, last in zip(firsts, [*(first - 1 for first in firsts[1:]), length]):
            # every document has as many tokens in the range, so the mean of means is that of the tokens
            loss = with_interval("loss", *mean_interval(nll[:, first - 1 : last].mean(dim=1).tolist()))
            place = {"first_index": first, "last_index": last, "tokens": len(nll) * (last - first + 1)}
            records.append({**common, **place, **loss})
        return records

    def _long_enough(self, length: int) -> int:
        return sum(len(ids) > length for ids in self._ids)
