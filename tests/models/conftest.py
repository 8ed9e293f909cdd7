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
from transformers import AutoConfig, AutoModelForCausalLM

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


class ExactRotary(torch.nn.Module):
    """The rotary table of a model of transformers in float64, which the library takes in float32."""

    def __init__(self, rotary: Any) -> None:
        super().__init__()
        parameters, width = rotary.config.rope_parameters, 2 * len(rotary.inv_freq)
        self.factor = rotary.attention_scaling
        if parameters["rope_type"] in ("default", "linear"):
            c = torch.arange(0, width, 2, dtype=torch.float64)
            self.frequency = parameters["rope_theta"] ** (-c / width) / parameters.get("factor", 1.0)
        else:
            self.frequency = rotary.inv_freq.double()

    def forward(self, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        angle = position_ids[..., None] * self.frequency
        both = torch.cat([angle, angle], dim=-1)
        return self.factor * both.cos(), self.factor * both.sin()


@pytest.fixture
def make_host() -> Callable[..., Any]:
    """Tiny random models of transformers: ``make_host("llama", exact=True, **config)``."""

    def build(kind: str, *, exact: bool = False, attn_implementation: str = "sdpa", **more: Any) -> Any:
        torch.manual_seed(0)
        sizes = {"vocab_size": 53, "initializer_range": 0.3, "bos_token_id": None, "eos_token_id": None}
        if kind == "gpt2":
            dropouts = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
            sizes |= {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64} | dropouts
        else:
            sizes |= {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
            sizes |= {"num_key_value_heads": 2, "max_position_embeddings": 64}
        config = AutoConfig.for_model(kind, **(sizes | more))
        model = AutoModelForCausalLM.from_config(config, attn_implementation=attn_implementation).eval()
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.3)
        if exact:
            model.double()
            for name, module in list(model.named_modules()):
                if type(module).__name__.endswith("RMSNorm"):
                    exact_norm = torch.nn.RMSNorm(32, eps=module.variance_epsilon, dtype=torch.float64)
                    model.set_submodule(name, exact_norm)
                elif name.endswith("rotary_emb"):
                    model.set_submodule(name, ExactRotary(module))
        return model

    return build
