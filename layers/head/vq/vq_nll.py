"""Negative log-likelihood of a codebook head, without a column for each token."""

from __future__ import annotations

import torch
from torch import Tensor

from ....errors import require
from ...common.full_precision import full_dtype, without_autocast
from ..linear_nll import linear_nll


def vq_nll(
    hidden: Tensor, codebook: Tensor, mapping: Tensor, target: Tensor, *, token_bias: Tensor | None = None
) -> Tensor:
    """nll_n = logsumexp_k(l_k + log m_k) - l_M(t) - beta_t, l = C h_n, t = target_n, in nats.

    m_k = sum over the tokens v of code k of exp(beta_v), the number n_k of those tokens where beta = 0: the exact
    softmax over all V tokens with logits l_M(v) + beta_v, at K columns a row. A code without a token has m_k = 0 and
    takes no part. (VQ-Logits, arXiv:2505.10202, gives the head; there the loss has V columns.)

    Everything is computed in float32, under autocast too, or in float64 where hidden is float64.

    Args:
        hidden: (N, d).
        codebook: C (K, d).
        mapping: M (V,) int64 or int32 in 0..K-1, the code of each token.
        target: (N,) int64 in 0..V-1.
        token_bias: beta (V,), or None for 0.

    Returns:
        (N,) float32, float64 for float64 hidden.

    Raises:
        ArgumentError: shapes or types do not fit, or, on a CPU, a target or a code id is out of range.
    """
    require(codebook.dim() == 2, "codebook", "shape (K, d)", tuple(codebook.shape))
    require(mapping.dim() == 1, "mapping", "shape (V,)", tuple(mapping.shape))
    require(mapping.dtype in (torch.int64, torch.int32), "mapping", "int64 or int32", mapping.dtype)
    fits = token_bias is None or token_bias.shape == mapping.shape
    require(fits, "token_bias", f"shape {tuple(mapping.shape)}", None if token_bias is None else token_bias.shape)
    codebook_size = codebook.size(0)
    checked = mapping.device.type == "cpu" and mapping.numel() and not torch.compiler.is_compiling()
    span = tuple(int(m) for m in mapping.aminmax()) if checked else (0, 0)
    require(span[0] >= 0 and span[1] < codebook_size, "mapping", f"code ids in 0..{codebook_size - 1}", span)
    check_target(target, mapping.numel())
    dtype = full_dtype(hidden)
    log_mass = log_code_mass(mapping, codebook_size, None if token_bias is None else token_bias.to(dtype), dtype)
    return code_nll(hidden, codebook, mapping[target].long(), log_mass) + within_nll(
        log_mass, mapping, target, token_bias
    )


def code_nll(
    hidden: Tensor,
    codebook: Tensor,
    code: Tensor,
    log_mass: Tensor,
    *,
    uniform: bool = True,
    row_weight: Tensor | None = None,
) -> Tensor:
    """-log p(code | hidden), p proportional to m_k exp(l_k): (N, d), (K, d), (N,), (K,) -> (N,).

    ``uniform`` and ``row_weight`` as of :func:`linear_nll`: time depends on them, values do not.
    """
    dtype = full_dtype(hidden)
    with without_autocast(hidden):
        return linear_nll(
            hidden.to(dtype),
            codebook.to(dtype),
            code,
            bias=log_mass.to(dtype),
            uniform=uniform,
            row_weight=row_weight,
        )


def within_nll(log_mass: Tensor, mapping: Tensor, target: Tensor, token_bias: Tensor | None) -> Tensor:
    """-log p(target | its code) = log m_M(t) - beta_t: (K,), (V,), (N,), (V,) -> (N,)."""
    shared = log_mass[mapping[target]]
    return shared if token_bias is None else shared - token_bias[target].to(shared.dtype)


def log_code_mass(mapping: Tensor, codebook_size: int, token_bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Log m_k = logsumexp of beta over the tokens of code k, (K,); -inf for a code without a token."""
    if token_bias is None:
        ones = torch.ones_like(mapping)
        return mapping.new_zeros(codebook_size).index_add_(0, mapping, ones).to(dtype).log()
    mapping = mapping.long()  # scatter takes no other type on every device
    largest = token_bias.new_full((codebook_size,), -torch.inf)
    largest = largest.scatter_reduce(0, mapping, token_bias.detach(), "amax").clamp(min=torch.finfo(dtype).min)
    mass = torch.zeros_like(largest).index_add(0, mapping, torch.exp(token_bias - largest[mapping]))
    # the logarithm of 0 is -inf, but its gradient is not a number: an empty code gets the value and no gradient
    empty = mass == 0
    return torch.where(empty, -torch.inf, mass.masked_fill(empty, 1.0).log() + largest)


def check_target(target: Tensor, vocab_size: int) -> None:
    """Raise :class:`ArgumentError` unless every target is a token, where looking does not stall a device."""
    require(target.dtype == torch.int64, "target", "int64", target.dtype)
    if target.device.type == "cpu" and target.numel() and not torch.compiler.is_compiling():
        span = tuple(int(t) for t in target.aminmax())
        require(span[0] >= 0 and span[1] < vocab_size, "target", f"values in 0..{vocab_size - 1}", span)
