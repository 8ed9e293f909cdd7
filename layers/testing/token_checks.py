"""What a feed-forward layer or a normalisation promises: (B, T, d) to (B, T, d), each token by itself."""

from __future__ import annotations

import copy
import statistics

import torch
from torch import Tensor, nn

from ..feed_forward.feed_forward import FeedForward
from .arguments import ARGUMENTS
from .differences import check_differences
from .promise import Candidate, Promise
from .repeats import check_repeats, trained

# Draws over which the errors of half precision are judged, and how many times a plain layer's they may be.
_SEEDS = 8
_FACTOR = 3.0


def check_types(make: Candidate) -> None:
    """The output has the shape and the type of x."""
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        layer, x = _ready(make, dtype)
        y = layer(x)
        assert y.dtype == dtype, f"x is {dtype} and y {y.dtype}"
        assert y.shape == x.shape, f"x is {tuple(x.shape)} and y {tuple(y.shape)}"


def check_alone(make: Candidate) -> None:
    """A token's output depends on no other token, in value or gradient."""
    layer, x = _ready(make, torch.float64)
    y = layer(x.requires_grad_())
    difference = (layer(x[1:2, 4:5]) - y[1:2, 4:5]).detach().abs().max()
    error = float(difference / y.detach().abs().max().clamp(min=1e-30))
    assert error < 1e-5, f"a token alone and among others differ by {error:.3g}"
    (gradient,) = torch.autograd.grad(y[1, 4].square().sum(), x)
    own = float(gradient[1, 4].abs().sum())
    leak = float(gradient.abs().sum()) - own
    assert leak <= 1e-12 * own, f"a token has a gradient ({leak:.3g}) with respect to other tokens"
    assert own > 0.0, "a token does not depend on itself"


def check_finite(make: Candidate) -> None:
    """Outputs and gradients are finite for zeros, large, tiny and equal inputs."""
    layer, ordinary = _ready(make, torch.float32)
    inputs = {"zeros": torch.zeros_like(ordinary), "inputs x 1e3": 1e3 * ordinary, "inputs x 1e-30": 1e-30 * ordinary}
    for what, x in {**inputs, "ones": torch.ones_like(ordinary)}.items():
        y = layer(x.requires_grad_())
        assert bool(y.isfinite().all()), f"an output is not finite for {what}"
        gradients = torch.autograd.grad(y.sum(), [x, *trained(layer).values()], allow_unused=True)
        assert all(bool(g.isfinite().all()) for g in gradients if g is not None), f"a gradient is not finite for {what}"


def check_gradients(make: Candidate) -> None:
    """Gradients of x and of every parameter equal finite differences."""
    layer, x = _ready(make, torch.float64)
    check_differences(lambda: layer(x), {"x": x.requires_grad_(), **trained(layer)})


def check_half_precision(make: Candidate) -> None:
    """The errors of y and dx in half precision are at most three times those of a plain feed-forward layer.

    Judged is the median over eight seeds, relative to float32 with the same rounded weights and inputs.
    """
    for dtype in (torch.bfloat16, torch.float16):
        ratios: list[tuple[float, float]] = []
        for seed in range(_SEEDS):
            torch.manual_seed(seed)
            layer, x = _ready(make, dtype)
            ours, plain = _errors(layer, x), _errors(FeedForward(x.size(-1)).to(dtype), x)
            ratios.append((ours[0] / plain[0], ours[1] / plain[1]))
        for what, seen in zip(("y", "dx"), zip(*ratios)):
            median = statistics.median(seen)
            sentence = f"{dtype}: the error of {what} is {median:.3g} times that of a plain feed-forward layer"
            # a NaN fails too
            assert median <= _FACTOR, f"{sentence}, more than {_FACTOR:g}"


def check_state_dict(make: Candidate) -> None:
    """Another layer that loads the state dict computes the same."""
    torch.manual_seed(1)
    first, x = _ready(make, torch.float32)
    torch.manual_seed(2)
    second, _ = _ready(make, torch.float32)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(x), second(x)), "the state dict does not hold everything that the layer computes with"


def check_deterministic(make: Candidate) -> None:
    """The same input gives the same bits, forward and backward."""
    layer, x = _ready(make, torch.float32)
    check_repeats(lambda: layer(x), [x.requires_grad_(), *trained(layer).values()])


_PROMISES = (
    ARGUMENTS,
    Promise(
        "types",
        "Gives back the shape and the type that came in: float32, float64, bfloat16, float16",
        "Mixed precision breaks at the next layer, or memory doubles unnoticed.",
        "Make tensors with x.new_zeros(...) or dtype=x.dtype, and end with .to(x.dtype).",
        check_types,
    ),
    Promise(
        "alone",
        "Each token by itself: no token depends on another one",
        "The model may see the token that it has to predict, and generation, which gives the layer one token at a "
        "time, differs from training.",
        "Reduce over the last dimension only. What mixes tokens belongs into an attention layer, which has the cache.",
        check_alone,
    ),
    Promise(
        "finite",
        "No NaN or infinity, forward and backward, for zeros, large, tiny and equal inputs",
        "One unlucky batch ends a training run.",
        "Add an epsilon under a square root and to a divisor; clamp before exp.",
        check_finite,
    ),
    Promise(
        "gradients",
        "Gradients equal finite differences in float64",
        "The layer trains towards something other than its loss.",
        "Look at detach(), at in-place changes and at backward() of your autograd.Function; keep float64 as float64.",
        check_gradients,
    ),
    Promise(
        "half_precision",
        "In half precision the errors stay within three times those of a plain feed-forward layer",
        "Training in bfloat16 learns less than the same layer could.",
        "Compute means, norms and steep functions in float32 and round once.",
        check_half_precision,
    ),
    Promise(
        "state_dict",
        "Its state dict holds everything that it computes with",
        "A model that was saved and loaded is another model.",
        "What is learned or drawn is a Parameter or a persistent buffer.",
        check_state_dict,
    ),
    Promise(
        "deterministic",
        "The same input gives the same bits twice",
        "Runs cannot be repeated, and resumed runs differ from uninterrupted ones.",
        "Draw nothing in forward(); dropout is the decoder's.",
        check_deterministic,
    ),
)

TOKEN_PROMISES = {promise.name: promise for promise in _PROMISES}
"""By name."""


def _ready(make: Candidate, dtype: torch.dtype) -> tuple[nn.Module, Tensor]:
    """The layer and an input (3, 9, d)."""
    layer: nn.Module = make().to(dtype).eval()
    return layer, torch.randn(3, 9, int(make.arguments["d_model"])).to(dtype)


def _errors(layer: nn.Module, x: Tensor) -> tuple[float, float]:
    """Relative errors of y and dx against float32."""
    weight = torch.randn_like(x)
    given = _value_and_gradient(layer, x, weight)
    exact = _value_and_gradient(copy.deepcopy(layer).float(), x.float(), weight.float())
    of_y, of_dx = (
        float(torch.linalg.vector_norm(a.float() - b) / torch.linalg.vector_norm(b).clamp(min=1e-30))
        for a, b in zip(given, exact)
    )
    return of_y, of_dx


def _value_and_gradient(layer: nn.Module, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    leaf = x.detach().requires_grad_()
    y = layer(leaf)
    return y.detach(), torch.autograd.grad(y, leaf, weight)[0]
