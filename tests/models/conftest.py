from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from lmzoo.layers import (
    ALiBi,
    ComplexAttention,
    FeedForward,
    LearnedPosition,
    LinearHead,
    NoPosition,
    Rotary,
    SigmoidAttention,
    Sinusoidal,
    SoftmaxAttention,
    VQLogitsHead,
)
from lmzoo.models import Decoder

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "grouped, untied": {"attention": partial(SoftmaxAttention, n_kv_heads=2), "head": LinearHead},
    "alibi": {"position": ALiBi},
    "none": {"position": NoPosition()},
    "t5": {"position": "T5Bias"},
    "complex": {"attention": partial(ComplexAttention, n_kv_heads=2)},
    "unit queries": {"attention": "QKNormAttention", "position": Rotary(extension="yarn", factor=2.0, train_length=8)},
    "scalable": {"attention": "SSMaxAttention", "position": ALiBi},
    "sigmoid": {"attention": partial(SigmoidAttention, train_length=8), "position": Rotary()},
    "relu": {"attention": "ReLUAttention"},
    "sinusoidal": {"position": "Sinusoidal"},
    "learned": {"position": LearnedPosition(max_length=40), "feed_forward": FeedForward},
    "mappings": {
        "attention": {"class_path": "SoftmaxAttention", "init_args": {"position": {"class_path": "Rotary"}}},
        "feed_forward": {"class_path": "lmzoo.layers.SwiGLU", "init_args": {"hidden": 24}},
        "head": {"class_path": "LinearHead", "init_args": {"tied": True, "bias": True}},
    },
    "adaptive": {"head": "AdaptiveSoftmaxHead"},
    "codes": {"head": partial(VQLogitsHead, codebook_size=7, token_counts=[(5 * i) % 53 for i in range(53)])},
    "random codes": {"head": partial(VQLogitsHead, codebook_size=9, mapping="random", within_code="bias")},
    "classes": {"head": partial(VQLogitsHead, codebook_size=7, tail_codes=4, within_code="class_softmax")},
    "low rank": {"head": partial(VQLogitsHead, codebook_size=7, within_code="class_softmax", rows="own", rank=2)},
    "biased waves": {"position": Sinusoidal(base=100.0), "head": partial(LinearHead, bias=True, chunk_size=3)},
}


@pytest.fixture(params=VARIANTS)
def arguments(request: pytest.FixtureRequest) -> dict[str, Any]:
    return VARIANTS[request.param]


@pytest.fixture
def make() -> Callable[..., Decoder]:
    def build(**arguments: Any) -> Decoder:
        torch.manual_seed(0)
        # wide initial weights, so that attention and order matter
        return Decoder(**({"vocab_size": 53, "d_model": 32, "n_layers": 2, "n_heads": 4, "init_std": 0.3} | arguments))

    return build


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.randint(53, (3, 17), generator=torch.Generator().manual_seed(1))
