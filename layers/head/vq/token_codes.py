"""The table of a codebook head: which code each token shares, and what frequencies say about it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ....errors import ArgumentError, require
from ...common.part import Part

_UNKNOWN = -1


class TokenCodes(Part):
    """A mapping from V tokens to K codes, as integer buffers, which no change of type can blur.

    Saved with the model, as 2 V integers of 32 bits: mapping (V,), the code of each token, -1 where it is not known
    yet; counts (V,), how often each token is a label in the training data, 0 where that is not known. Counts order
    tokens and share out codes: where one has more than 31 bits, all lose as many of their last bits, but none that was
    above 0 becomes 0.

    Derived from them whenever they change, and not saved: order (V,) int32, the tokens sorted by code, in each code
    the frequent ones first; offsets (K + 1,) int32, where each code begins in ``order``; mass (K,) int64, over the
    tokens of a code the sum of counts + 1. ``load_state_dict`` does so by itself; whoever fills the buffers by other
    means calls :meth:`derive_tables`.

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
        self.register_buffer("mapping", torch.full((vocab_size,), _UNKNOWN, dtype=torch.int32))
        self.register_buffer("counts", torch.zeros(vocab_size, dtype=torch.int32))
        self.register_buffer("order", torch.zeros(vocab_size, dtype=torch.int32), persistent=False)
        self.register_buffer("offsets", torch.zeros(codebook_size + 1, dtype=torch.int32), persistent=False)
        self.register_buffer("mass", torch.zeros(codebook_size, dtype=torch.int64), persistent=False)
        self._known = False
        self.register_load_state_dict_post_hook(_derive)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def assign(self, mapping: Tensor, token_counts: Tensor | None) -> None:
        """Fill the buffers in place from (V,) code ids, which are in range, and counts, if there are any."""
        if self.mapping.is_meta:
            return  # the buffers will be filled from a file, or are only counted
        counts = torch.zeros_like(mapping) if token_counts is None else token_counts.detach()
        self.mapping.copy_(mapping)
        self.counts.copy_(_fitted(counts))
        self.derive_tables()

    @torch.inference_mode(False)  # tensors born in inference mode could not be saved for a later backward pass
    @torch.no_grad()
    def derive_tables(self) -> None:
        """Compute what follows from mapping and counts, on their device, and learn whether the mapping is known.

        Raises:
            ArgumentError: a code id or a count is out of range.
        """
        self._known = False
        if self.mapping.is_meta or int(self.mapping[0]) == _UNKNOWN:
            return
        span = tuple(int(m) for m in self.mapping.aminmax())
        fits = span[0] >= 0 and span[1] < self.codebook_size
        require(fits, "mapping", f"code ids in 0..{self.codebook_size - 1}", span)
        # of 64 bits where tensors of a file were assigned and not copied
        self.mapping, self.counts = self.mapping.int(), _fitted(self.counts).int()
        mapping, counts = self.mapping.long(), self.counts.long()
        frequent = torch.argsort(counts, descending=True, stable=True)
        sizes = mapping.new_zeros(self.codebook_size).index_add_(0, mapping, torch.ones_like(mapping))
        self.order = frequent[torch.argsort(mapping[frequent], stable=True)].int()
        self.offsets = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)]).int()
        self.mass = torch.zeros_like(sizes).index_add_(0, mapping, counts + 1)
        self._known = True

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        for derived in ("order", "offsets", "mass"):  # which an earlier version saved too
            state_dict.pop(prefix + derived, None)
        mapping, counts = (state_dict.get(prefix + name) for name in ("mapping", "counts"))
        # integers of 64 bits, as earlier versions wrote them, would be copied without a look at their upper half
        if counts is not None and counts.dtype == torch.int64 and not counts.is_meta:
            state_dict[prefix + "counts"] = _fitted(counts)
        if mapping is not None and mapping.dtype == torch.int64 and not mapping.is_meta:
            span = tuple(int(m) for m in mapping.aminmax())
            fits = span[0] >= _UNKNOWN and span[1] < self.codebook_size
            require(fits, "mapping", f"code ids in 0..{self.codebook_size - 1}", span)
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    @property
    def known(self) -> bool:
        """Whether there is a mapping, of which the tables were derived."""
        return self._known

    def check(self, reason: str) -> None:
        """Raise :class:`ArgumentError` where the mapping is not known; once known, it costs nothing."""
        if self._known or self.mapping.is_meta:
            return
        self.derive_tables()
        if not self._known:
            raise ArgumentError("mapping", reason, "no mapping yet")

    def sizes(self) -> Tensor:
        """n_k, tokens of each code, (K,) int32."""
        return self.offsets.diff()

    def log_within(self, dtype: torch.dtype) -> Tensor:
        """Log p(token | code) from training counts with one added to each, (V,)."""
        return (self.counts.long() + 1).to(dtype).log() - self.mass.to(dtype).log()[self.mapping]

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


def mean_columns(mapping: Tensor, counts: Tensor) -> float:
    """sum_v p(v) n_M(v): the tokens of the target's code, none for a token alone in its code.

    p(v) is the token's share of the training counts (V,); where these are all 0, Zipf's law over the ids stands for
    them, p(v) in proportion to 1 / (v + 1).
    """
    share = counts.double() if bool(counts.any()) else 1.0 / torch.arange(1, counts.numel() + 1).double()
    sizes = torch.bincount(mapping)[mapping].double()
    return float((share * sizes.masked_fill(sizes == 1, 0.0)).sum() / share.sum())


def _fitted(counts: Tensor) -> Tensor:
    """Counts that 32 bits hold: as they are, or less their last bits."""
    least, most = (int(c) for c in counts.aminmax())
    require(least >= 0, "token_counts", "counts of at least 0", least)
    excess = most.bit_length() - 31
    return counts if excess <= 0 else torch.maximum(counts >> excess, (counts > 0).to(counts.dtype))


def _derive(codes: TokenCodes, _: Any) -> None:
    codes.derive_tables()
