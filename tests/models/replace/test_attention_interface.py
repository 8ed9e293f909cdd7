from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.layers import SoftplusAttention, reference
from lmzoo.models import ATTENTION_IMPLEMENTATIONS, replace_attention
from torch import Tensor, nn
from transformers import AttentionInterface, AutoConfig, AutoModelForCausalLM

Make = Callable[..., Any]

PATTERNS = {
    "llama": "model.layers.*.self_attn",
    "mistral": "model.layers.*.self_attn",
    "qwen2": "model.layers.*.self_attn",
    "gpt2": "transformer.h.*.attn",
}
PADS = (0, 3, 9)
MASK = (torch.arange(17)[None] >= torch.tensor(PADS)[:, None]).long()


@pytest.fixture(params=PATTERNS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model(make_host: Make, kind: str) -> Any:
    return make_host(kind, exact=True, attn_implementation="lmzoo_softplus")


def call(implementation: str = "lmzoo_softplus", **config: Any) -> Any:
    module = nn.Module()
    module.config = SimpleNamespace(**config)  # type: ignore[assignment]
    attention = AttentionInterface()[implementation]

    def run(*tensors: Tensor, mask: Tensor | None = None, **more: Any) -> Tensor:
        y, weights = attention(module, *tensors, mask, **more)
        assert weights is None
        return y

    return run


def tensors() -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    made = [torch.randn(3, h, t, 8, generator=g, dtype=torch.float64) for h, t in ((4, 11), (2, 17), (2, 17))]
    query, key, value = (x.requires_grad_() for x in made)
    return query, key, value


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"power": 3.0},
        {"power": None},
        {"activation": "relu", "power": 2.0},
        {"length_scale": False, "free_rows": 0},
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", ["none", "two", "bool", "additive"])
def test_the_function_is_softplus_attention_in_value_and_gradient(options: dict[str, Any], shape: str) -> None:
    query, key, value = tensors()
    real = MASK.bool()
    pairs = (torch.ones(17, 17, dtype=torch.bool).tril() & real[:, None])[:, None, 6:]
    masks = {"none": None, "two": MASK, "bool": pairs, "additive": torch.zeros(3, 1, 11, 17).masked_fill(~pairs, -1e30)}
    run = call(**{f"lmzoo_softplus_{name}": option for name, option in options.items()})
    mask = masks[shape]
    if mask is None:
        query = query.detach()[:, :, -1:].requires_grad_()
    # a positive factor on the scores of unit vectors is none
    y = run(query, key, value, mask=mask, scaling=0.123)
    wanted = reference.softplus_attention(query, key, value, key_mask=None if mask is None else real, **options)
    seen = torch.ones(3, 1, dtype=torch.bool) if mask is None else real[:, 6:]
    assert torch.allclose(y[seen], wanted.transpose(1, 2)[seen], rtol=0, atol=1e-12)
    weight = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weight = weight * seen[:, None, :, None]
    given = torch.autograd.grad((y.transpose(1, 2) * weight).sum(), (query, key, value))
    expected = torch.autograd.grad((wanted * weight).sum(), (query, key, value))
    for g, e in zip(given, expected):
        assert torch.allclose(g, e, rtol=0, atol=1e-9)


def test_a_model_with_the_implementation_equals_one_with_the_layer(
    make_host: Make, kind: str, model: Any, ids: Tensor
) -> None:
    other = make_host(kind, exact=True)
    assert torch.equal(other.state_dict()["lm_head.weight"], model.state_dict()["lm_head.weight"])
    for implementation, options in (("lmzoo_softplus", {"power": 3.0}), ("lmzoo_lssa", {"power": None})):
        model.set_attn_implementation(implementation)
        if options["power"] is not None:
            model.config.lmzoo_softplus_power = options["power"]
        elif "lmzoo_softplus_power" in vars(model.config):
            del model.config.lmzoo_softplus_power
        with replace_attention(other, PATTERNS[kind], SoftplusAttention, **options):
            for mask in (None, MASK):
                seen = torch.ones_like(ids).bool() if mask is None else mask.bool()
                given, wanted = (m(ids, attention_mask=mask).logits[seen] for m in (model, other))
                assert torch.allclose(given, wanted, rtol=0, atol=1e-10)


def test_the_future_has_no_influence(model: Any, ids: Tensor) -> None:
    before = model(ids).logits
    for cut in (0, 7, 15):
        changed = ids.clone()
        changed[:, cut + 1 :] = (changed[:, cut + 1 :] + 1) % 53
        after = model(changed).logits
        assert torch.allclose(after[:, : cut + 1], before[:, : cut + 1], rtol=0, atol=1e-12)
        assert (after[:, cut + 1 :] - before[:, cut + 1 :]).abs().amax(dim=-1).min() > 1e-4


def test_generation_with_cache_and_padding_is_that_of_each_row_alone(model: Any, ids: Tensor) -> None:
    options: dict[str, Any] = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    given = model.generate(ids, attention_mask=MASK, **options)[:, 17:]
    for row, pad in enumerate(PADS):
        alone = ids[row : row + 1, pad:]
        for _ in range(6):
            alone = torch.cat([alone, model(alone, use_cache=False).logits[:, -1].argmax(-1, keepdim=True)], dim=1)
        assert torch.equal(given[row], alone[0, 17 - pad :])


@pytest.mark.parametrize("mask", [None, torch.ones_like(MASK), MASK], ids=["none", "ones", "padded"])
def test_chunks_behind_a_cache_equal_one_pass(model: Any, ids: Tensor, mask: Tensor | None) -> None:
    whole = model(ids, attention_mask=mask).logits
    cut = None if mask is None else mask[:, :10]
    first = model(ids[:, :10], attention_mask=cut, use_cache=True)
    # the library counts the positions of a chunk from the keys before it, padding too, as it did in one pass
    second = model(ids[:, 10:], attention_mask=mask, past_key_values=first.past_key_values).logits
    assert torch.allclose(second, whole[:, 10:], rtol=0, atol=1e-10)


def test_training_lowers_the_loss(make_host: Make, ids: Tensor) -> None:
    model = make_host("llama", attn_implementation="lmzoo_softplus").train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        loss = model(ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and bool((p.grad != 0).any()) for p in model.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_options_are_saved_with_the_model(make_host: Make, ids: Tensor, tmp_path: Path) -> None:
    model = make_host("llama", attn_implementation="lmzoo_softplus")
    before = model(ids).logits
    model.config.lmzoo_softplus_power = 2.0
    changed = model(ids).logits
    assert not torch.allclose(changed, before, atol=1e-3)
    model.save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).lmzoo_softplus_power == 2.0
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="lmzoo_softplus").eval()
    assert torch.equal(loaded(ids).logits, changed)
    model.config.lmzoo_softplus_pwoer = 3.0
    with pytest.raises(ArgumentError, match=r"lmzoo_softplus_pwoer: expected an option .*such as lmzoo_softplus_power"):
        model(ids)


def test_lssa_takes_no_power() -> None:
    assert {name: options["power"] for name, options in ATTENTION_IMPLEMENTATIONS.items()} == {
        "lmzoo_softplus": 15.0,
        "lmzoo_lssa": None,
    }
    query, key, value = tensors()
    lssa = call("lmzoo_lssa")(query, key, value, mask=torch.ones_like(MASK))
    same = call(lmzoo_softplus_power=None)(query, key, value, mask=torch.ones_like(MASK))
    assert torch.equal(lssa, same)
    with pytest.raises(ArgumentError, match="lmzoo_softplus_power: expected None with lmzoo_lssa"):
        call("lmzoo_lssa", lmzoo_softplus_power=3.0)(query, key, value, mask=torch.ones_like(MASK))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"softcap": 50.0}, "softcap: expected None"),
        ({"s_aux": torch.zeros(4)}, "s_aux: expected None"),
        ({"position_bias": torch.zeros(1)}, "position_bias: expected None"),
        ({"dropout": 0.1}, "attention_dropout: expected 0 in training"),
        ({"sliding_window": 16}, "sliding_window: expected None, or at least the 17 keys"),
        ({"is_causal": False}, "is_causal: expected True"),
        ({"scaling": -1.0}, "scaling: expected a number above 0"),
        ({"output_attentions": True}, "output_attentions: expected False"),
        ({"mask": None}, "past_key_values: expected a cache that grows"),
        ({"mask": torch.ones(3, 16)}, r"attention_mask: expected shape \(3, 17\)"),
        ({"mask": torch.ones(3, 4, 11, 17, dtype=torch.bool)}, r"attention_mask: expected shape \(3, 1, 11, 17\)"),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_what_it_cannot_do_is_refused(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()(*tensors(), **({"mask": torch.ones_like(MASK)} | more))


def test_what_a_model_cannot_do_is_refused(make_host: Make, ids: Tensor) -> None:
    model = make_host("mistral", sliding_window=8, attention_dropout=0.1, attn_implementation="lmzoo_softplus")
    for length in (7, 8):
        assert torch.isfinite(model(ids[:, :length], attention_mask=MASK[:, 9 : 9 + length]).logits).all()
    for arguments in ({}, {"use_cache": False}, {"attention_mask": MASK[:, -9:]}):
        with pytest.raises(ArgumentError, match=r"sliding_window|attention_mask"):
            model(ids[:, :9], **arguments)
    with pytest.raises(ArgumentError, match="sliding_window: expected None, or at least the length"):
        model.generate(ids[:, :6], max_new_tokens=4, pad_token_id=0)
    with pytest.raises(ArgumentError, match="attention_dropout: expected 0 in training"):
        model.train()(ids[:, :5])
    model = make_host("llama", attn_implementation="lmzoo_softplus")
    with pytest.raises(ArgumentError, match="attention_mask: expected a mask that hides the future and padding"):
        model(ids, position_ids=(torch.arange(17) % 9)[None], use_cache=False)
    for prompt, mask in ((ids, None), (ids, MASK), (ids[:, :1], None), (ids[:, :1], torch.ones(3, 1))):
        with pytest.raises(ArgumentError, match=r"static cache|a cache that grows"):
            model.generate(prompt, attention_mask=mask, max_new_tokens=3, cache_implementation="static", pad_token_id=0)
