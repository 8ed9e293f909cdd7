"""Every part of lmzoo, saved and loaded by the Auto class: the same logits to the last bit."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from lmzoo import layers
from lmzoo.errors import ArgumentError
from lmzoo.layers import Attention, CorpusStatistics, Head, Position, VQLogitsHead
from lmzoo.layers.head.vq.vq_logits_head import MAPPINGS, WITHIN_CODE
from lmzoo.models import Decoder, LMZooForCausalLM, structured_start
from torch import Tensor
from transformers import AutoModelForCausalLM

Make = Callable[..., Decoder]

# Arguments away from their defaults, so that a default that comes back in their place is noticed.
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "SoftmaxAttention": [{}, {"n_kv_heads": 2}],
    "ComplexAttention": [{}, {"n_kv_heads": 1, "base": 50.0, "scale": 0.3}, {"adaptation": "head"}],
    "SoftplusAttention": [
        {"power": 3.0, "free_rows": 1},
        {"power": None, "activation": "exp", "length_scale": False},
        {"learned_scale": True, "learned_power": True},
        {"power_warmup_steps": 7},
    ],
    "SigmoidAttention": [{"train_length": 9}],
    "ReLUAttention": [{}],
    "QKNormAttention": [{"n_kv_heads": 2}],
    "SSMaxAttention": [{"initial_scale": 0.8}],
    "Rotary": [{"base": 30.0}, {"extension": "yarn", "factor": 3.0, "train_length": 8}],
    "ALiBi": [{}],
    "T5Bias": [{}],
    "Sinusoidal": [{"base": 20.0}],
    "LearnedPosition": [{"max_length": 33}],
    "NoPosition": [{}],
    "SwiGLU": [{"hidden": 20}],
    "FeedForward": [{"hidden": 20}],
    "RMSNorm": [{"eps": 0.3}],
    "LinearHead": [{}, {"bias": True}, {"tied": True, "bias": True}],
    "AdaptiveSoftmaxHead": [
        {"cutoffs": [5, 20], "div_value": 2.0},
        {"token_counts": [(3 * i) % 53 for i in range(53)]},
    ],
    "VQLogitsHead": [
        *(
            {"codebook_size": 7, "mapping": m, "within_code": w, "cooccurrence_rank": 4}
            for m, w in product(MAPPINGS, WITHIN_CODE)
        ),
        {"codebook_size": 5, "mapping": [i % 5 for i in range(53)], "within_code": "bias"},
        {"codebook_size": 7, "within_code": "class_softmax", "rows": "own"},
        {"codebook_size": 7, "within_code": "class_softmax", "rows": "own", "rank": 3},
        {"codebook_size": 7, "within_code": "class_softmax", "projection": True, "tail_codes": 3, "tail": "size"},
    ],
}
SLOTS = {Attention: "attention", Position: "position", Head: "head"}
PLAIN = {"SwiGLU": "feed_forward", "FeedForward": "feed_forward", "RMSNorm": "norm"}


def slot_of(name: str) -> str:
    part = getattr(layers, name)
    return PLAIN.get(name) or next(slot for base, slot in SLOTS.items() if issubclass(part, base))


def parts() -> list[str]:
    """The names of all parts that a decoder can be given."""
    classes = {name: getattr(layers, name) for name in layers.__all__}
    fits = {name for name, part in classes.items() if issubclass(part, tuple(SLOTS)) and not inspect.isabstract(part)}
    return sorted((fits - {"Attention", "Position", "Head"}) | set(PLAIN))


def clustered(rows: Tensor, k: int, seed: int) -> Tensor:
    return torch.arange(len(rows)).roll(seed + 1) % k


def learned(decoder: Decoder) -> LMZooForCausalLM:
    """With what training would have told the parts, and with no two parameters left as they started."""
    counts = torch.arange(53).flip(0) * 3
    statistics = CorpusStatistics(
        counts, cooccurrence=lambda rank: torch.ones(53, rank), embedding=torch.ones(53, 32), cluster=clustered
    )
    for module in decoder.modules():
        if hasattr(module, "use_corpus"):
            module.use_corpus(statistics)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return LMZooForCausalLM.from_decoder(decoder.eval())


def assert_survives(decoder: Decoder, ids: Tensor, folder: Path) -> None:
    model = learned(decoder)
    model.save_pretrained(folder)
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    assert loaded.decoder.config == decoder.config
    assert torch.equal(loaded(ids).logits, model(ids).logits)
    assert torch.equal(loaded(ids, labels=ids).loss, model(ids, labels=ids).loss)
    stored = model.decoder.state_dict()
    assert all(torch.equal(tensor, stored[name]) for name, tensor in loaded.decoder.state_dict().items())


def test_no_part_is_left_out() -> None:
    assert sorted(SETTINGS) == parts()


@pytest.mark.parametrize(("name", "settings"), [(name, one) for name in sorted(SETTINGS) for one in SETTINGS[name]])
def test_every_part_survives(make: Make, ids: Tensor, tmp_path: Path, name: str, settings: dict[str, Any]) -> None:
    given = partial(getattr(layers, name), **settings)
    part = given() if issubclass(getattr(layers, name), Position) else given
    assert_survives(make(**{slot_of(name): part}), ids, tmp_path)


def test_a_structured_start_survives(make: Make, ids: Tensor, tmp_path: Path) -> None:
    decoder = make()
    places = torch.arange(12)
    structured_start(
        decoder.embedding.weight, places, places % 4, places // 4, std=0.5, generator=torch.Generator().manual_seed(0)
    )
    assert_survives(decoder, ids, tmp_path)


@pytest.mark.parametrize("name", ["SoftmaxAttention", "SoftplusAttention", "SigmoidAttention"])
def test_nested_positions_survive(make: Make, ids: Tensor, tmp_path: Path, name: str) -> None:
    decoder = make(attention=partial(getattr(layers, name), position=layers.Rotary(base=12.0)))
    assert_survives(decoder, ids, tmp_path)


def test_half_precision_survives(make: Make, ids: Tensor, tmp_path: Path) -> None:
    decoder = make(head=partial(VQLogitsHead, codebook_size=7, within_code="bias"), position=layers.ALiBi())
    assert_survives(decoder.bfloat16(), ids, tmp_path)


def test_a_foreign_part_inside_a_part_is_refused(make: Make, tmp_path: Path) -> None:
    decoder = make(attention=partial(layers.SoftmaxAttention, position=layers.Rotary()))
    LMZooForCausalLM.from_decoder(decoder).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["attention"]["init_args"]["position"]["class_path"] = "users_parts.Position"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ArgumentError, match=r"users_parts\.Position"):
        AutoModelForCausalLM.from_pretrained(tmp_path)


@pytest.mark.parametrize("pickled", ["pytorch_model.bin", "model.pt"])
def test_nothing_is_unpickled(make: Make, tmp_path: Path, pickled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = LMZooForCausalLM.from_decoder(make())
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / pickled)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("unpickled"))
    for load in (AutoModelForCausalLM, LMZooForCausalLM):
        with pytest.raises(ArgumentError, match=rf"path: expected a folder with model\.safetensors.*{pickled}"):
            load.from_pretrained(tmp_path)
        with pytest.raises(ArgumentError, match="use_safetensors"):
            load.from_pretrained(tmp_path, use_safetensors=False)


def test_weights_in_several_files(make: Make, ids: Tensor, tmp_path: Path) -> None:
    model = LMZooForCausalLM.from_decoder(make()).eval()
    model.save_pretrained(tmp_path, max_shard_size="10KB")
    assert not (tmp_path / "model.safetensors").exists()
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(loaded(ids).logits, model(ids).logits)
