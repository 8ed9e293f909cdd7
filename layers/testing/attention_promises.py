"""What an attention layer promises."""

from __future__ import annotations

from functools import partial
from unittest import SkipTest

import torch
from torch import Tensor

from ..attention.attention import Attention
from . import attention_checks as contract
from .arguments import ARGUMENTS
from .differences import check_differences
from .promise import Candidate, Promise
from .repeats import check_repeats, trained


def check_types(make: Candidate) -> None:
    """The output has the shape and the type of x."""
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        layer: Attention = make().to(dtype).eval()
        x = torch.randn(2, 9, layer.d_model).to(dtype)
        y = layer(x)
        assert y.dtype == dtype, f"x is {dtype} and y {y.dtype}"
        assert y.shape == x.shape, f"x is {tuple(x.shape)} and y {tuple(y.shape)}"


def check_gradients(make: Candidate) -> None:
    """Gradients of x and of every parameter equal finite differences, with and without padding."""
    layer: Attention = make().double().eval()
    x = torch.randn(2, 7, layer.d_model, dtype=torch.float64, requires_grad=True)
    mask = torch.arange(7)[None] >= torch.tensor([[0], [3]])
    leaves = {"x": x, **trained(layer)}
    check_differences(lambda: layer(x), leaves)

    def real_rows() -> Tensor:
        rows: Tensor = layer(x, mask)[mask]
        return rows

    check_differences(real_rows, leaves)


def check_groups(make: Candidate) -> None:
    """Query heads may share key/value heads: such a layer is causal, and cached equals uncached."""
    if not make.takes("n_kv_heads"):
        raise SkipTest("the constructor has no argument n_kv_heads")
    heads = make().n_heads
    if heads % 2:
        raise SkipTest(f"{heads} query heads cannot be shared in pairs")
    grouped = partial(make, n_kv_heads=heads // 2)
    contract.check_causality(grouped)
    contract.check_cache(grouped)


def check_deterministic(make: Candidate) -> None:
    """The same input gives the same bits, forward and backward."""
    layer: Attention = make().eval()
    x = torch.randn(2, 33, layer.d_model, requires_grad=True)
    check_repeats(lambda: layer(x), [x, *trained(layer).values()])


_PROMISES = (
    ARGUMENTS,
    Promise(
        "causality",
        "Causal: no row depends on a later token, in value or gradient",
        "The model sees the token that it has to predict: perplexity in training is wrong, and too good.",
        "Mix only what visibility.mask() shows. Look for statistics over the whole sequence (a mean, a maximum, a "
        "norm over T), for a flip, and for scaled_dot_product_attention without is_causal or a mask.",
        contract.check_causality,
    ),
    Promise(
        "padding",
        "Real tokens do not depend on padding, left or right",
        "A batch of prompts of unlike lengths gives other text than the same prompts alone.",
        "Take padding from visibility.mask() or visibility.key_mask; count tokens with visibility.counts(), not with "
        "key.size(2). Rows that are padding may hold anything finite.",
        contract.check_padding,
    ),
    Promise(
        "cache",
        "Cached equals full: chunked prefill and single steps, with left padding and without",
        "Generated text is not what the trained model would say.",
        "Queries stand at the end of the keys: row r has absolute index visibility.start + r. In transform() use "
        "start. Keep no state of the sequence in the layer: what later steps need goes into key and value.",
        contract.check_cache,
    ),
    Promise(
        "batch",
        "A sequence gives the same rows alone and in a batch, at odd lengths and for one token",
        "Results depend on the batch size, and evaluation on how windows are packed.",
        "Reduce over no dimension but heads, channels and visible keys; see that the output is (B, H, Tq, dh).",
        contract.check_batch,
    ),
    Promise(
        "groups",
        "Query heads may share key/value heads (n_kv_heads)",
        "The layer cannot be put into models with grouped-query attention.",
        "attend() is given G = key.size(1) heads for H = query.size(1); where your products do not group, begin with "
        "key.repeat_interleave(H // G, dim=1), and value alike.",
        check_groups,
    ),
    Promise(
        "finite",
        "No NaN or infinity, forward and backward, for zeros, large, tiny and equal inputs",
        "One unlucky batch ends a training run.",
        "Subtract the largest score before exp; clamp what a square root, a logarithm or a division meets; clamp "
        "before the function and not after it, since gradients flow through both sides of torch.where.",
        contract.check_finite,
    ),
    Promise(
        "gradients",
        "Gradients equal finite differences in float64",
        "The layer trains towards something other than its loss.",
        "Look at backward() of your autograd.Function and at detach(), data, item() and in-place changes. A float32 "
        "cast inside the layer is seen here too: keep float64 where float64 comes in.",
        check_gradients,
    ),
    Promise(
        "types",
        "Gives back the shape and the type that came in: float32, float64, bfloat16, float16",
        "Mixed precision breaks at the next layer, or memory doubles unnoticed.",
        "Make tensors with query.new_zeros(...) or dtype=query.dtype, and end with .to(query.dtype).",
        check_types,
    ),
    Promise(
        "half_precision",
        "In half precision the errors stay within a multiple of softmax attention's",
        "Training in bfloat16 learns less than the same layer could.",
        "Compute scores, sums and functions with a steep slope in float32 and round once at the end. A layer that "
        "cannot do better says by how much in half_precision_factor().",
        contract.check_half_precision,
    ),
    Promise(
        "memory",
        "Memory in training grows with T, not with T squared",
        "Long contexts run out of memory that softmax attention would manage.",
        "Never hold scores (Tq, Tk): call lmzoo.layers.attention.softmax_mix or a fused kernel, or work on strips of "
        "rows (visibility.strip) inside torch.utils.checkpoint.",
        contract.check_memory,
    ),
    Promise(
        "state_dict",
        "Its state dict holds everything that it computes with",
        "A model that was saved and loaded is another model.",
        "What is learned or drawn is a Parameter or a persistent buffer; what follows from the arguments is made in "
        "__init__ from them alone.",
        contract.check_state_dict,
    ),
    Promise(
        "deterministic",
        "The same input gives the same bits twice",
        "Runs cannot be repeated, and resumed runs differ from uninterrupted ones.",
        "Draw nothing in forward(), and change no state of the layer there.",
        check_deterministic,
    ),
)

ATTENTION_PROMISES = {promise.name: promise for promise in _PROMISES}
"""By name; :data:`COMPILATION` is apart, since it takes many seconds."""

COMPILATION = Promise(
    "compile",
    "torch.compile(fullgraph=True) gives the same values and gradients",
    "The layer slows a compiled model down, or changes it.",
    "No print, item() or tolist() in forward(), and no branch on the values of a tensor; sizes are fine.",
    contract.check_compile,
)
