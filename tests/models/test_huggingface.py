from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.layers import FeedForward
from lmzoo.models import Decoder, LMZooConfig, LMZooForCausalLM
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

Make = Callable[..., Decoder]


class ForeignFeedForward(FeedForward):
    """A user's part, from outside lmzoo."""


def wrap(decoder: Decoder) -> LMZooForCausalLM:
    return LMZooForCausalLM.from_decoder(decoder, pad_token_id=0).eval()


def test_save_and_load(make: Make, arguments: dict[str, Any], ids: Tensor, tmp_path: Path) -> None:
    decoder = make(**arguments).eval()
    wrap(decoder).save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert isinstance(loaded, LMZooForCausalLM)
    assert torch.equal(loaded(ids).logits, decoder(ids))
    assert loaded.decoder.config == decoder.config
    head, embedding = loaded.decoder.head.weight, loaded.decoder.embedding.weight
    assert (head is embedding) == decoder.head.tied
    stored = load_file(tmp_path / "model.safetensors")
    assert sum(t.numel() for t in stored.values()) == sum(p.numel() for p in decoder.parameters())
    assert isinstance(AutoConfig.from_pretrained(tmp_path), LMZooConfig)


def test_greedy_generation_equals_step_by_step_argmax(make: Make, arguments: dict[str, Any], ids: Tensor) -> None:
    decoder = make(**arguments).eval()
    model = wrap(decoder)
    mask = torch.arange(17)[None] >= torch.tensor([[0], [3], [9]])
    for attention_mask in (torch.ones_like(ids), mask.long()):
        given = model.generate(ids, attention_mask=attention_mask, max_new_tokens=8, do_sample=False)
        rows, seen = ids, attention_mask.bool()
        for _ in range(8):
            rows = torch.cat([rows, decoder(rows, seen)[:, -1].argmax(-1, keepdim=True)], 1)
            seen = torch.cat([seen, torch.ones(3, 1, dtype=torch.bool)], 1)
        assert torch.equal(given, rows)


def test_cached_generation_equals_uncached(make: Make, ids: Tensor) -> None:
    model = wrap(make())
    kinds = [model.generate(ids, max_new_tokens=8, do_sample=False, use_cache=use) for use in (True, False)]
    assert torch.equal(*kinds)


def test_sampling_repeats_under_a_seed(make: Make, ids: Tensor) -> None:
    model = wrap(make())
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(model.generate(ids, max_new_tokens=12, do_sample=True, top_k=10))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_loss_is_the_mean_over_wanted_labels(make: Make, ids: Tensor) -> None:
    decoder = make().double()
    model = wrap(decoder)
    nll = decoder.nll(ids)
    assert float(model(ids, labels=ids).loss) == pytest.approx(float(nll.mean()), rel=1e-12)
    labels = ids.clone()
    labels[:, :5] = -100
    assert float(model(ids, labels=labels).loss) == pytest.approx(float(nll[:, 4:].mean()), rel=1e-12)


def test_logits_to_keep(make: Make, ids: Tensor) -> None:
    model = wrap(make())
    full = model(ids).logits
    assert torch.allclose(model(ids, logits_to_keep=2).logits, full[:, -2:], atol=1e-5)
    assert torch.allclose(model(ids, logits_to_keep=torch.tensor([4])).logits, full[:, [4]], atol=1e-5)
    assert torch.equal(model(ids, return_dict=False)[0], full)


def test_half_precision_loads(make: Make, ids: Tensor, tmp_path: Path) -> None:
    wrap(make()).save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert loaded(ids).logits.dtype == torch.bfloat16


def test_foreign_parts_need_trust(make: Make, ids: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = make(feed_forward=ForeignFeedForward).eval()
    wrap(decoder).save_pretrained(tmp_path)
    (tmp_path / "users_parts.py").write_text(
        "from lmzoo.layers import FeedForward\nclass ForeignFeedForward(FeedForward):\n    pass\n"
    )
    config = json.loads((tmp_path / "config.json").read_text())
    config["feed_forward"]["class_path"] = "users_parts.ForeignFeedForward"
    (tmp_path / "config.json").write_text(json.dumps(config))
    monkeypatch.syspath_prepend(tmp_path)
    for load in (AutoModelForCausalLM, LMZooForCausalLM):
        with pytest.raises(ArgumentError, match="class_path"):
            load.from_pretrained(tmp_path)
    trusted = AutoModelForCausalLM.from_pretrained(tmp_path, trust_remote_code=True).eval()
    assert torch.equal(trusted(ids).logits, decoder(ids))


def test_missing_weights_are_an_error(make: Make, tmp_path: Path) -> None:
    wrap(make()).save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    del stored["decoder.norm.weight"]
    save_file(stored, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ArgumentError, match=r"decoder\.norm\.weight"):
        LMZooForCausalLM.from_pretrained(tmp_path)


def test_the_vocabulary_cannot_be_resized(make: Make) -> None:
    with pytest.raises(ArgumentError):
        wrap(make()).resize_token_embeddings(60)
