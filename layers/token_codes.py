"""The table of a codebook head: which code each token shares, and what frequencies say about it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import ArgumentError, require

_UNKNOWN = -1


class TokenCodes(nn.Module):
    """A mapping from V tokens to K codes, as integer buffers, which no change of type can blur.

    mapping (V,) int64: the code of each token, -1 where it is not known yet; order (V,): the tokens sorted by code,
    in each code the frequent ones first; offsets (K + 1,): where each code begins in ``order``; counts (V,): how often
    each token is a label in the training data, 0 where that is not known; mass (K,): over the tokens of a code, the sum
    of counts + 1. All are saved with the model: 3 V + 2 K + 1 integers.

    Args:
        vocab_size: V.
        codebook_size: K.
    """

    mapping: Tensor
    order: Tensor
    offsets: Tensor
    counts: Tensor
    mass: Tensor

    def __init__(self, vocab_size: int, codebook_size: int) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.codebook_size = codebook_size
        shapes = {"mapping": vocab_size, "order": vocab_size, "offsets": codebook_size + 1, "counts": vocab_size}
        for name, size in {**shapes, "mass": codebook_size}.items():
            start = 0 if name == "counts" else _UNKNOWN
            self.register_buffer(name, torch.full((size,), start, dtype=torch.int64))
        self._known = False

    @torch.no_grad()
    def assign(self, mapping: Tensor, token_counts: Tensor | None) -> None:
        """Fill the buffers in place from (V,) code ids, which are in range, and counts, if there are any."""
        if self.mapping.is_meta:
            return  # the buffers will be filled from a file, or are only counted
        mapping = mapping.cpu()
        counts = torch.zeros_like(mapping) if token_counts is None else token_counts.detach().cpu().long()
        frequent = torch.argsort(counts, descending=True, stable=True)
        sizes = torch.bincount(mapping, minlength=self.codebook_size)
        self.mapping.copy_(mapping)
        self.order.copy_(frequent[torch.argsort(mapping[frequent], stable=True)])
        self.offsets.copy_(torch.cat([sizes.new_zeros(1), sizes.cumsum(0)]))
        self.counts.copy_(counts)
        self.mass.copy_(torch.zeros_like(sizes).index_add_(0, mapping, counts + 1))
        self._known = True

    def check(self, reason: str) -> None:
        """Raise :class:`ArgumentError` where the mapping is not known; once known, it costs nothing."""
        if self._known or torch.compiler.is_compiling() or self.mapping.is_meta:
            return
        if int(self.mapping[0]) == _UNKNOWN:
            raise ArgumentError("mapping", reason, "no mapping yet")
        self._known = True

    def sizes(self) -> Tensor:
        """n_k, tokens of each code, (K,) int64."""
        return self.offsets.diff()

    def log_within(self, dtype: torch.dtype) -> Tensor:
        """Log p(token | code) from training counts with one added to each, (V,)."""
        return (self.counts + 1).to(dtype).log() - self.mass.to(dtype).log()[self.mapping]

    @torch.no_grad()
    def start(self, token_bias: nn.Parameter | None) -> None:
        """Set beta (V,) to :meth:`log_within`, or to 0 where counts are not known."""
        if token_bias is not None and not token_bias.is_meta:
            known = bool(self.counts.any())
            token_bias.copy_(self.log_within(torch.float64) if known else torch.zeros_like(token_bias))

    def health(self) -> dict[str, float]:
        """How the training data uses the codes.

        ``code_perplexity`` is exp of the entropy of the codes' frequencies (K at most), ``dead_codes`` counts codes
        none of whose tokens occurs (all of them where counts are not known), ``empty_codes`` those without a token,
        ``largest_code`` is the most tokens that share one, ``shared_tokens`` the share of the training data's labels
        that do not have a code of their own.
        """
        counts = self.counts.double().cpu()
        sizes, mapping = self.sizes().cpu(), self.mapping.cpu()
        used = torch.zeros(self.codebook_size, dtype=torch.float64).index_add_(0, mapping, counts)
        total = float(used.sum())
        share = used / max(total, 1.0)
        return {
            "code_perplexity": float(torch.special.entr(share).sum().exp()) if total else 0.0,
            "dead_codes": float((used == 0).sum()),
            "empty_codes": float((sizes == 0).sum()),
            "largest_code": float(sizes.max()),
            "shared_tokens": float(share[sizes > 1].sum()),
        }


def checked_counts(token_counts: Tensor, vocab_size: int) -> Tensor:
    """Counts from outside as (V,) int64 on the CPU.

    Raises:
        ArgumentError: they are not V integers of at least 0.
    """
    fits = tuple(token_counts.shape) == (vocab_size,) and not token_counts.is_floating_point()
    given = (tuple(token_counts.shape), token_counts.dtype)
    require(fits, "token_counts", f"{vocab_size} integers, one for each token", given)
    least = int(token_counts.min())
    require(least >= 0, "token_counts", "counts of at least 0", least)
    return token_counts.detach().cpu().long()
