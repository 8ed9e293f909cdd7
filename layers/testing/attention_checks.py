"""What an attention layer promises: checks that run on any of them, and the promises in words.

Each check takes ``make``, which builds a fresh layer, and raises AssertionError with a sentence that says what broke.
They need torch alone: tests parametrise over :data:`ATTENTION_CHECKS`, a user may call them from anywhere.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from unittest import SkipTest

import torch
from torch import Tensor

from .. import reference
from ..attention.attention import Attention
from ..attention.cache import CacheLike, KeyCache
from .allocation import largest_allocation
from .arguments import ARGUMENTS, check_kept
from .differences import check_differences
from .promise import Candidate, Promise
from .repeats import check_repeats, trained

MakeAttention = Callable[[], Attention]

# Everything but the half-precision check runs in float64; layers may keep some internals in float32.
_TOLERANCE = 1e-5

# Draws of weights and inputs over which the errors of half precision are judged.
_SEEDS = 8


class UpdateOnlyCache:
    """The least that a layer may expect of a cache: ``update`` and nothing else."""

    def __init__(self) -> None:
        self._cache = KeyCache()

    def update(self, key: Tensor, value: Tensor, layer_index: int) -> tuple[Tensor, Tensor]:
        """Append and return everything."""
        return self._cache.update(key, value, layer_index)


def check_causality(make: MakeAttention) -> None:
    """No row depends on a later token, in value or in gradient."""
    layer = _double(make)
    for length in (1, 2, 63):
        x = _input(layer, 2, length)
        cut = length // 2
        changed = x.clone()
        changed[:, cut + 1 :] = 10.0 * torch.randn_like(changed[:, cut + 1 :])
        x.requires_grad_()
        y = layer(x)
        _close(y[:, : cut + 1], layer(changed)[:, : cut + 1], "an earlier row changed when later tokens did")
        (gradient,) = torch.autograd.grad(y[:, : cut + 1].square().sum(), x)
        leak = float(gradient[:, cut + 1 :].abs().sum())
        assert leak == 0.0, f"a row has a gradient ({leak:.3g}) with respect to later tokens"
        assert float(gradient[:, cut].abs().sum()) > 0.0, "a row does not depend on its own token"


def check_padding(make: MakeAttention) -> None:
    """Real rows do not depend on padding, left or right, nor on what stands in it; padded rows are finite."""
    layer = _double(make)
    x = _input(layer, 3, 23)
    for mask in (_left_padding(x, (0, 4, 22)), _left_padding(x, (0, 4, 22)).flip(1)):
        noisy = torch.where(mask[..., None], x, 1e3 * torch.randn_like(x)).requires_grad_()
        y = layer(noisy, mask)
        assert bool(y.isfinite().all()), "a padded row is not finite"
        for b in range(3):
            alone = layer(x[b : b + 1, mask[b]])[0]
            _close(y[b, mask[b]], alone, "a padded sequence differs from the same sequence without padding")
        (gradient,) = torch.autograd.grad(y[mask].square().sum(), noisy)
        assert bool((gradient[~mask] == 0).all()), "a real row has a gradient with respect to padding"
        assert bool(gradient.isfinite().all()), "a gradient behind padding is not finite"


def check_cache(make: MakeAttention, caches: Sequence[Callable[[], CacheLike]] = (KeyCache, UpdateOnlyCache)) -> None:
    """Chunks and single steps with a cache equal the full pass, with and without left padding."""
    layer = _double(make)
    x = _input(layer, 3, 23)
    plain = torch.ones(x.shape[:2], dtype=torch.bool)
    for mask in (None, _left_padding(x, (0, 4, 9))):
        full = layer(x, mask)
        for make_cache in caches:
            for chunks in ([1] * 23, [9, 1, 1, 12], [23]):
                cached = _cached(layer, x, mask, make_cache(), chunks)
                real = plain if mask is None else mask
                _close(cached[real], full[real], f"with {make_cache.__name__} in chunks {chunks} rows differ")


def check_batch(make: MakeAttention) -> None:
    """A sequence gives the same rows alone and in a batch, at odd lengths and for one token."""
    layer = _double(make)
    for length in (1, 63, 111):
        x = _input(layer, 3, length)
        y = layer(x)
        assert y.shape == x.shape, f"x {tuple(x.shape)} gave y {tuple(y.shape)}"
        _close(y[1:2], layer(x[1:2]), f"alone and in a batch differ at length {length}")


def check_finite(make: MakeAttention) -> None:
    """Outputs and gradients are finite for zeros, for large inputs and for equal tokens."""
    layer = make()
    ordinary = _input(layer, 2, 33).float()
    inputs = {"zeros": torch.zeros_like(ordinary), "inputs x 1e3": 1e3 * ordinary, "x 1e-30": 1e-30 * ordinary}
    for what, x in {**inputs, "equal tokens": ordinary[:, :1].expand_as(ordinary).clone()}.items():
        y = layer(x.requires_grad_())
        assert bool(y.isfinite().all()), f"an output is not finite for {what}"
        wanted = [x, *(p for p in layer.parameters() if p.requires_grad)]
        gradients = torch.autograd.grad(y.sum(), wanted, allow_unused=True)
        assert all(bool(g.isfinite().all()) for g in gradients if g is not None), f"a gradient is not finite for {what}"


def check_half_precision(make: MakeAttention, dtypes: Iterable[torch.dtype] = (torch.bfloat16, torch.float16)) -> None:
    """The errors of y and of dx in half precision are at most so many times those of plain softmax attention.

    How many times is the layer's own word, :meth:`Attention.half_precision_factor`. Judged is the median over eight
    seeds of weights and inputs, since single seeds differ: with re-weighting most of all, several times in dx. The
    errors are relative to float32 with the same rounded weights and inputs; the softmax attention is unfused, without
    position, and has the same weights.
    """
    for dtype in dtypes:
        ratios = [_half_precision_ratios(make, dtype, seed) for seed in range(_SEEDS)]
        with torch.random.fork_rng(devices=[]):
            factors = make().half_precision_factor()
        for what, limit, seen in zip(("y", "dx"), factors, zip(*ratios)):
            median = statistics.median(seen)
            sentence = (
                f"{dtype}: the error of {what} is {median:.3g} times that of softmax attention, more than {limit}"
            )
            # a NaN fails too
            assert median <= limit, f"{sentence}; {_SEEDS} seeds gave {min(seen):.3g} to {max(seen):.3g}"


def check_state_dict(make: MakeAttention) -> None:
    """Another layer that loads the state dict computes the same."""
    torch.manual_seed(1)
    first = _double(make)
    torch.manual_seed(2)
    second = _double(make)
    second.load_state_dict(first.state_dict())
    x = _input(first, 2, 17)
    assert torch.equal(first(x), second(x)), "the state dict does not hold everything that the layer computes with"


def check_memory(make: MakeAttention) -> None:
    """Training memory is O(T): with twice the length neither of two measures quadruples.

    These are the largest single allocation, inside kernels too, and all that is kept for the backward pass. Of the
    latter autograd tells what is saved with its own means: not attributes of a ``torch.autograd.Function``'s context.
    """
    layer = make()
    length = max(1024, 32 * layer.d_model)

    def largest(n: int) -> int:
        x = torch.randn(1, n, layer.d_model, requires_grad=True)
        return largest_allocation(lambda: layer(x).sum().backward())

    def kept(n: int) -> int:
        storages: dict[int, int] = {}

        def note(saved: Tensor) -> Tensor:
            storage = saved.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
            return saved

        with torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved):
            y = layer(torch.randn(1, n, layer.d_model, requires_grad=True))
        # y holds the graph and so every storage: none was freed and its address used again
        assert y.requires_grad, "y has no gradient"
        return sum(storages.values())

    for measure, what in ((largest, "the largest allocation"), (kept, "what is kept for the backward pass")):
        short, long = measure(length), measure(2 * length)
        assert long < 3 * short, f"{what} grew from {short} to {long} bytes with twice the {length} tokens"


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
    check_causality(grouped)
    check_cache(grouped)


def check_deterministic(make: Candidate) -> None:
    """The same input gives the same bits, forward and backward."""
    layer: Attention = make().eval()
    x = torch.randn(2, 33, layer.d_model, requires_grad=True)
    check_repeats(lambda: layer(x), [x, *trained(layer).values()])


def check_compile(make: MakeAttention) -> None:
    """``torch.compile(fullgraph=True)`` gives the same values and gradients. Takes many seconds."""
    # what other layers compiled to in this process counts against torch's limit of compilations of one method
    torch.compiler.reset()
    layer = make()
    x = _input(layer, 2, 32).float().requires_grad_()
    parameters = [p for p in layer.parameters() if p.requires_grad]
    y = layer(x)
    expected = [y, *torch.autograd.grad(y.square().sum(), [x, *parameters])]
    z = torch.compile(layer, fullgraph=True)(x)
    given = [z, *torch.autograd.grad(z.square().sum(), [x, *parameters])]
    for eager, compiled in zip(expected, given):
        error = _relative_error(compiled, eager)
        assert error < 1e-4, f"compiled and eager differ by {error:.3g}"


ATTENTION_CHECKS: dict[str, Callable[[MakeAttention], None]] = {
    "arguments": check_kept,
    "causality": check_causality,
    "padding": check_padding,
    "cache": check_cache,
    "batch": check_batch,
    "finite": check_finite,
    "half_precision": check_half_precision,
    "state_dict": check_state_dict,
    "memory": check_memory,
}
"""Checks that take any function that builds a layer, by the names of the promises; all but :func:`check_compile`."""


_PROMISES = (
    ARGUMENTS,
    Promise(
        "causality",
        "Causal: no row depends on a later token, in value or gradient",
        "The model sees the token that it has to predict: perplexity in training is wrong, and too good.",
        "Mix only what visibility.mask() shows. Look for statistics over the whole sequence (a mean, a maximum, a "
        "norm over T), for a flip, and for scaled_dot_product_attention without is_causal or a mask.",
        check_causality,
    ),
    Promise(
        "padding",
        "Real tokens do not depend on padding, left or right",
        "A batch of prompts of unlike lengths gives other text than the same prompts alone.",
        "Take padding from visibility.mask() or visibility.key_mask; count tokens with visibility.counts(), not with "
        "key.size(2). Rows that are padding may hold anything finite.",
        check_padding,
    ),
    Promise(
        "cache",
        "Cached equals full: chunked prefill and single steps, with left padding and without",
        "Generated text is not what the trained model would say.",
        "Queries stand at the end of the keys: row r has absolute index visibility.start + r. In transform() use "
        "start. Keep no state of the sequence in the layer: what later steps need goes into key and value.",
        check_cache,
    ),
    Promise(
        "batch",
        "A sequence gives the same rows alone and in a batch, at odd lengths and for one token",
        "Results depend on the batch size, and evaluation on how windows are packed.",
        "Reduce over no dimension but heads, channels and visible keys; see that the output is (B, H, Tq, dh).",
        check_batch,
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
        check_finite,
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
        check_half_precision,
    ),
    Promise(
        "memory",
        "Memory in training grows with T, not with T squared",
        "Long contexts run out of memory that softmax attention would manage.",
        "Never hold scores (Tq, Tk): call lmzoo.layers.attention.softmax_mix or a fused kernel, or work on strips of "
        "rows (visibility.strip) inside torch.utils.checkpoint.",
        check_memory,
    ),
    Promise(
        "state_dict",
        "Its state dict holds everything that it computes with",
        "A model that was saved and loaded is another model.",
        "What is learned or drawn is a Parameter or a persistent buffer; what follows from the arguments is made in "
        "__init__ from them alone.",
        check_state_dict,
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
    check_compile,
)


def _double(make: MakeAttention) -> Attention:
    return make().double().eval()


def _input(layer: Attention, batch: int, length: int) -> Tensor:
    generator = torch.Generator().manual_seed(length)
    return torch.randn(batch, length, layer.d_model, generator=generator, dtype=torch.float64)


def _left_padding(x: Tensor, padding: Sequence[int]) -> Tensor:
    return torch.arange(x.size(1))[None] >= torch.tensor(padding)[:, None]


def _cached(layer: Attention, x: Tensor, mask: Tensor | None, cache: CacheLike, chunks: Sequence[int]) -> Tensor:
    rows, start = [], 0
    for size in chunks:
        end = start + size
        rows.append(layer(x[:, start:end], None if mask is None else mask[:, :end], cache, 3))
        start = end
    return torch.cat(rows, dim=1)


def _half_precision_ratios(make: MakeAttention, dtype: torch.dtype, seed: int) -> tuple[float, float]:
    """Error over ordinary error, of y and of dx."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        half = make().to(dtype)
        x, weight = torch.randn(2, 2, 111, half.d_model).to(dtype)
    truth = copy.deepcopy(half).float()

    def value_and_gradient(run: Callable[[Tensor], Tensor], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        leaf = x.to(dtype).requires_grad_()
        y = run(leaf)
        return y, torch.autograd.grad(y, leaf, weight.to(dtype))[0]

    given, exact = value_and_gradient(half, dtype), value_and_gradient(truth, torch.float32)
    plain = value_and_gradient(partial(_plain_softmax, half), dtype)
    exact_plain = value_and_gradient(partial(_plain_softmax, truth), torch.float32)
    ours, ordinary = map(_relative_error, given, exact), map(_relative_error, plain, exact_plain)
    of_y, of_dx = (error / usual for error, usual in zip(ours, ordinary))
    return of_y, of_dx


def _plain_softmax(layer: Attention, x: Tensor) -> Tensor:
    batch, length, _ = x.shape
    heads = [layer.n_heads, layer.n_kv_heads, layer.n_kv_heads]
    packed = layer.qkv(x).view(batch, length, sum(heads), layer.head_width).transpose(1, 2)
    y = reference.softmax_attention(*torch.split(packed, heads, dim=1))
    projected: Tensor = layer.output(y.transpose(1, 2).flatten(2))
    return projected


def _relative_error(given: Tensor, truth: Tensor) -> float:
    difference = torch.linalg.vector_norm(given.double() - truth.double())
    return float((difference / torch.linalg.vector_norm(truth.double()).clamp(min=1e-30)).detach())


def _close(given: Tensor, truth: Tensor, sentence: str) -> None:
    error = _relative_error(given, truth)
    assert error < _TOLERANCE, f"{sentence} (relative error {error:.3g})"
