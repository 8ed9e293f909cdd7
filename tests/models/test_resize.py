"""Another vocabulary for a trained model: linear heads take it, the others say why they cannot."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.layers import AdaptiveSoftmaxHead, LinearHead, VQLogitsHead
from lmzoo.models import Decoder, LMZooForCausalLM
from torch import Tensor
from transformers import AutoModelForCausalLM

Make = Callable[..., Decoder]

LINEAR: dict[str, dict[str, Any]] = {
    "tied": {},
    "tied, biased": {"tied": True, "bias": True},
    "own": {"tied": False},
    "own, biased": {"bias": True},
}
FIXED = {
    "clusters": (AdaptiveSoftmaxHead, "training frequency"),
    "codes": (partial(VQLogitsHead, codebook_size=7), "codes by the training data"),
    "classes": (partial(VQLogitsHead, codebook_size=7, within_code="class_softmax"), "codes by the training data"),
}


@pytest.fixture(params=LINEAR)
def model(make: Make, request: pytest.FixtureRequest) -> LMZooForCausalLM:
    arguments = LINEAR[request.param]
    model = LMZooForCausalLM.from_decoder(make(**({"head": partial(LinearHead, **arguments)} if arguments else {})))
    if model.decoder.head.offset is not None:
        torch.nn.init.normal_(model.decoder.head.offset)
    return model.eval()


def test_new_tokens_are_average_ones(model: LMZooForCausalLM, ids: Tensor) -> None:
    before = model(ids).logits
    embedding = model.resize_token_embeddings(59)
    after = model(ids).logits
    assert embedding is model.decoder.embedding is model.get_input_embeddings()
    assert embedding.weight.shape == (59, 32)
    assert after.shape == (3, 17, 59)
    assert torch.allclose(after[..., :53], before, rtol=0, atol=1e-5)
    mean = before.double().mean(-1, keepdim=True)
    assert torch.allclose(after[..., 53:].double(), mean.expand(-1, -1, 6), rtol=0, atol=1e-5)


def test_fewer_tokens_keep_their_logits(model: LMZooForCausalLM, ids: Tensor) -> None:
    ids = ids % 50
    before = model(ids).logits
    model.resize_token_embeddings(50)
    assert torch.allclose(model(ids).logits, before[..., :50], rtol=0, atol=1e-5)


def test_everything_goes_on_with_the_new_size(model: LMZooForCausalLM, ids: Tensor, tmp_path: Path) -> None:
    tied = model.decoder.head.tied
    model.resize_token_embeddings(54, pad_to_multiple_of=8)
    assert model.config.vocab_size == model.decoder.vocab_size == model.decoder.head.vocab_size == 56
    assert (model.decoder.head.weight is model.decoder.embedding.weight) == tied
    rows = torch.where(ids == 3, 55, ids)
    loss = model(rows, labels=rows).loss
    loss.backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in model.parameters())
    expected = torch.nn.functional.cross_entropy(model(rows).logits[:, :-1].transpose(1, 2), rows[:, 1:])
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(loaded(rows).logits, model(rows).logits)
    assert (loaded.decoder.head.weight is loaded.decoder.embedding.weight) == tied
    assert loaded.generate(rows, max_new_tokens=3, do_sample=False).shape == (3, 20)


def test_new_tokens_may_start_at_random(make: Make) -> None:
    model = LMZooForCausalLM.from_decoder(make(head=partial(LinearHead, bias=True), init_std=0.02))
    torch.manual_seed(0)
    model.resize_token_embeddings(3053, mean_resizing=False)
    for rows in (model.decoder.embedding.weight, model.decoder.head.weight):
        assert float(rows[53:].std()) == pytest.approx(0.02, rel=0.02)
        assert abs(float(rows[53:].mean())) < 2e-4
    assert not model.decoder.head.offset[53:].any()


def test_the_same_size_changes_nothing(make: Make) -> None:
    for head in ("LinearHead", *(head for head, _ in FIXED.values())):
        model = LMZooForCausalLM.from_decoder(make(head=head))
        rows = model.decoder.embedding.weight
        for arguments in ({}, {"new_num_tokens": 53}, {"new_num_tokens": 49, "pad_to_multiple_of": 53}):
            assert model.resize_token_embeddings(**arguments).weight is rows


def test_frozen_rows_stay_frozen(make: Make) -> None:
    decoder = make(head=LinearHead).half()
    decoder.embedding.weight.requires_grad_(False)
    decoder.resize(60)
    assert not decoder.embedding.weight.requires_grad
    assert decoder.head.weight.requires_grad
    assert {p.dtype for p in decoder.parameters()} == {torch.float16}


@pytest.mark.parametrize("kind", FIXED)
def test_other_heads_say_why_they_cannot(make: Make, ids: Tensor, kind: str) -> None:
    head, reason = FIXED[kind]
    model = LMZooForCausalLM.from_decoder(make(head=head)).eval()
    before = model(ids).logits
    with pytest.raises(ArgumentError, match=f"vocab_size: expected 53: .*Head .*{reason}"):
        model.resize_token_embeddings(60)
    assert torch.equal(model(ids).logits, before)
    assert model.config.vocab_size == model.decoder.vocab_size == 53


def test_a_vocabulary_has_tokens(make: Make) -> None:
    with pytest.raises(ArgumentError, match="vocab_size"):
        make().resize(0)


def test_another_embedding_is_shared_by_a_tied_head(make: Make, ids: Tensor) -> None:
    model = LMZooForCausalLM.from_decoder(make()).eval()
    model.set_input_embeddings(torch.nn.Embedding(53, 32))
    assert model.decoder.head.weight is model.get_input_embeddings().weight
