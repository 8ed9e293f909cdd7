"""``generate()``: a batch with left padding gives what each row gives alone, in every way of decoding."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.layers import ComplexAttention, SoftplusAttention, VQLogitsHead
from lmzoo.models import Decoder, LMZooForCausalLM
from torch import Tensor

Make = Callable[..., Decoder]

WAYS: dict[str, dict[str, Any]] = {
    "greedy": {"do_sample": False},
    "beams": {"num_beams": 3, "do_sample": False, "num_return_sequences": 2},
    "long beams": {"num_beams": 2, "length_penalty": 2.0, "do_sample": False},
}
PADDING = (0, 3, 9)


@pytest.fixture
def model(make: Make, arguments: dict[str, Any]) -> LMZooForCausalLM:
    """In float64, where no near tie is decided by rounding."""
    return LMZooForCausalLM.from_decoder(make(**arguments).double(), pad_token_id=0).eval()


@pytest.fixture
def padded(ids: Tensor) -> dict[str, Tensor]:
    """Three prompts of 17, 14 and 8 tokens."""
    mask = torch.arange(17)[None] >= torch.tensor(PADDING)[:, None]
    return {"input_ids": torch.where(mask, ids, 0), "attention_mask": mask.long()}


@pytest.mark.parametrize("way", WAYS)
def test_a_padded_batch_generates_what_its_rows_do(
    model: LMZooForCausalLM, padded: dict[str, Tensor], way: str
) -> None:
    together = model.generate(**padded, max_new_tokens=6, **WAYS[way])
    several = WAYS[way].get("num_return_sequences", 1)
    for row, start in enumerate(PADDING):
        prompt = padded["input_ids"][row : row + 1, start:]
        alone = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=6, **WAYS[way])
        assert torch.equal(together[row * several : (row + 1) * several, 17:], alone[:, prompt.size(1) :])


@pytest.mark.parametrize("way", WAYS)
def test_the_cache_changes_nothing(model: LMZooForCausalLM, padded: dict[str, Tensor], way: str) -> None:
    outputs = [model.generate(**padded, max_new_tokens=6, use_cache=use, **WAYS[way]) for use in (True, False)]
    assert torch.equal(*outputs)


def test_a_padded_batch_samples_from_what_each_row_would(model: LMZooForCausalLM, padded: dict[str, Tensor]) -> None:
    torch.manual_seed(0)
    more = {"do_sample": True, "top_k": 0, "return_dict_in_generate": True, "output_logits": True}
    output = model.generate(**padded, max_new_tokens=6, **more)
    logits = torch.stack(output.logits, 1)
    for row, start in enumerate(PADDING):
        alone = model(output.sequences[row : row + 1, start:-1]).logits[0, -6:]
        assert torch.allclose(logits[row], alone.to(logits.dtype), rtol=0, atol=1e-5)


def test_beams_find_the_likeliest_continuation(make: Make, ids: Tensor) -> None:
    """As many beams as there are prefixes leave nothing out: the search is then exact."""
    model = LMZooForCausalLM.from_decoder(make(vocab_size=6).double(), pad_token_id=0).eval()
    prompt = ids[:1, :5] % 6
    mask = torch.ones_like(prompt)  # else the token 0 would be taken for padding
    found = model.generate(prompt, attention_mask=mask, num_beams=36, do_sample=False, max_new_tokens=3)[0, 5:]
    every = torch.cartesian_prod(*[torch.arange(6)] * 3)
    rows = torch.cat([prompt.expand(len(every), -1), every], 1)
    best = every[model.decoder.nll(rows)[:, -3:].sum(1).argmin()]
    assert torch.equal(found, best)


def test_the_end_of_one_row_leaves_the_others_alone(make: Make, padded: dict[str, Tensor]) -> None:
    model = LMZooForCausalLM.from_decoder(make().double(), pad_token_id=0).eval()
    free = model.generate(**padded, max_new_tokens=8, do_sample=False)[:, 17:]
    end = int(free[1, 2])
    stopped = model.generate(**padded, max_new_tokens=8, do_sample=False, eos_token_id=end)[:, 17:]
    for row in range(3):
        places = (free[row] == end).nonzero().flatten().tolist()
        last = places[0] + 1 if places else 8
        assert torch.equal(stopped[row, :last], free[row, :last])
        assert bool((stopped[row, last:] == 0).all())


@pytest.mark.parametrize("attention", [SoftplusAttention, ComplexAttention])
def test_embeddings_in_place_of_tokens(make: Make, ids: Tensor, attention: type) -> None:
    model = LMZooForCausalLM.from_decoder(make(attention=attention).double(), pad_token_id=0).eval()
    embeds = model.get_input_embeddings()(ids)
    assert torch.equal(model(inputs_embeds=embeds).logits, model(ids).logits)
    more = {"max_new_tokens": 5, "do_sample": False, "attention_mask": torch.ones_like(ids)}
    assert torch.equal(model.generate(inputs_embeds=embeds, **more), model.generate(ids, **more)[:, 17:])
    for given in ({}, {"input_ids": ids, "inputs_embeds": embeds}):
        with pytest.raises(ArgumentError, match="input_ids"):
            model(**given)


def test_more_tokens_than_training_had(make: Make, ids: Tensor) -> None:
    """Unless told how many, ``generate()`` stops at the training length, as with models of Hugging Face."""
    model = LMZooForCausalLM.from_decoder(make(), train_length=24, pad_token_id=0).eval()
    assert model.config.max_position_embeddings == model.config.train_length == 24
    assert model.generate(ids, do_sample=False).size(1) == 24
    assert model.generate(ids, do_sample=False, max_new_tokens=30).size(1) == 47


def test_hidden_states_are_those_that_generate_saw(make: Make, ids: Tensor) -> None:
    model = LMZooForCausalLM.from_decoder(make().double(), pad_token_id=0).eval()
    more = {"return_dict_in_generate": True, "output_hidden_states": True, "do_sample": False}
    output = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=3, **more)
    assert [len(step) for step in output.hidden_states] == [3, 3, 3]
    full = model(output.sequences[:, :-1], output_hidden_states=True).hidden_states
    steps = [torch.cat(layer, 1) for layer in zip(*output.hidden_states)]
    assert all(torch.allclose(a, b, rtol=0, atol=1e-10) for a, b in zip(steps, full))


def test_static_caches_are_refused(make: Make, ids: Tensor) -> None:
    model = LMZooForCausalLM.from_decoder(make(), pad_token_id=0).eval()
    with pytest.raises(ArgumentError, match="past_key_values"):
        model.generate(ids, max_new_tokens=3, cache_implementation="static")


def test_sampling_shares_a_code_evenly(make: Make, ids: Tensor) -> None:
    """Tokens of one code are equally likely: top-k takes no side by the order of ids."""
    head = partial(VQLogitsHead, codebook_size=1, token_counts=[1] * 53)
    model = LMZooForCausalLM.from_decoder(make(head=head), pad_token_id=0).eval()
    torch.manual_seed(0)
    drawn = model.generate(ids[:1].expand(40, -1), max_new_tokens=20, do_sample=True, top_k=0)[:, 17:]
    assert len(drawn.unique()) == 53
