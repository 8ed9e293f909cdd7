"""The matrix of weights, times the values, is the layer's output: for every class, in float64."""

import pytest
import torch
from lmzoo import layers
from lmzoo.layers import (
    ALiBi,
    Attention,
    ComplexAttention,
    NoPosition,
    QKNormAttention,
    ReLUAttention,
    SigmoidAttention,
    SoftmaxAttention,
    SoftplusAttention,
    SSMaxAttention,
    T5Bias,
    reference,
)
from lmzoo.layers.attention.attention_weights import attention_weights
from lmzoo.layers.attention.visibility import KeySelection, Visibility

CASES = {
    "rotary": (SoftmaxAttention, {}),
    "alibi": (SoftmaxAttention, {"position": ALiBi}),
    "t5": (SoftmaxAttention, {"position": T5Bias}),
    "nothing": (SoftmaxAttention, {"position": NoPosition}),
    "qk-norm": (QKNormAttention, {}),
    "ssmax": (SSMaxAttention, {}),
    "complex": (ComplexAttention, {}),
    "softplus-15": (SoftplusAttention, {}),
    "softplus-3": (SoftplusAttention, {"power": 3.0, "learned_scale": True, "learned_power": True}),
    "lssa": (SoftplusAttention, {"power": None}),
    "sigmoid": (SigmoidAttention, {"train_length": 16}),
    "relu": (ReLUAttention, {}),
}
UNNORMALISED = {"sigmoid", "relu"}


def test_every_class_is_tried():
    exported = {getattr(layers, name) for name in layers.__all__}
    attentions = {c for c in exported if issubclass(c, Attention) and c is not Attention}
    assert {cls for cls, _ in CASES.values()} == attentions


def inputs(layer, length):
    x = torch.randn(2, length, layer.d_model, dtype=torch.float64)
    heads = [layer.n_heads, layer.n_kv_heads, layer.n_kv_heads]
    packed = layer.qkv(x).view(2, length, sum(heads), layer.head_width).transpose(1, 2)
    query, key, value = torch.split(packed, heads, dim=1)
    return x, *layer.transform(3.0 * query, key, 0), value


@pytest.mark.parametrize("n_kv_heads", [4, 2])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_weights_times_values_is_the_output(case, padded, n_kv_heads):
    cls, options = CASES[case]
    layer = cls(32, 4, n_kv_heads=n_kv_heads, **options).double()
    length = 21
    _, query, key, value = inputs(layer, length)
    mask = None
    if padded:
        mask = torch.ones(2, length, dtype=torch.bool)
        mask[1, :6] = False
    full = Visibility(length, length, mask, query.device)
    expected = layer.attend(query, key, value, full)
    seen_from_all = full.mask()
    for first, last in ((0, length), (5, 9), (20, 21), (0, 1)):  # all rows, a strip, one row, the first
        strip = Visibility(last - first, last, None if mask is None else mask[:, :last], query.device)
        w = attention_weights(layer.attend, query[:, :, first:last], key[:, :, :last], strip)
        assert w.shape == (2, 4, last - first, last)
        mixed = w @ value[:, :, :last].repeat_interleave(4 // n_kv_heads, dim=1)
        torch.testing.assert_close(mixed, expected[:, :, first:last], rtol=1e-10, atol=1e-12)
        hidden = ~seen_from_all[..., first:last, :last].expand_as(w)
        assert (w[hidden] == 0).all()
        assert (w >= 0).all()
        if case not in UNNORMALISED:
            torch.testing.assert_close(w.sum(-1), torch.ones_like(w[..., 0]), rtol=1e-10, atol=0)


@torch.no_grad()
def test_weights_are_those_of_the_reference():
    query, key, value = (torch.randn(2, 3, 19, 8, dtype=torch.float64) for _ in range(3))
    layer = SoftmaxAttention(24, 3, position=NoPosition)
    w = attention_weights(layer.attend, query, key, Visibility(19, 19, None, query.device))
    scores = (query @ key.transpose(-1, -2) / 8**0.5).masked_fill(torch.ones(19, 19).triu(1).bool(), -torch.inf)
    torch.testing.assert_close(w, scores.softmax(-1), rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(w @ value, reference.softmax_attention(query, key, value), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("limit", [{"window": 5}, {"selection": KeySelection(3, recent=2, sinks=2)}])
@pytest.mark.parametrize("case", ["rotary", "alibi", "qk-norm", "ssmax", "complex"])
@torch.no_grad()
def test_windows_and_selections_are_kept(case, limit):
    cls, options = CASES[case]
    layer = cls(32, 4, **options).double()
    _, query, key, value = inputs(layer, 21)
    mask = torch.arange(21)[None] >= torch.tensor([[0], [6]])
    seen = Visibility(21, 21, mask, query.device)
    limited = seen.limited(**limit)
    w = attention_weights(layer.attend, query, key, limited)
    torch.testing.assert_close(w @ value, layer.attend(query, key, value, limited), rtol=1e-10, atol=1e-12)
    assert not torch.allclose(w, attention_weights(layer.attend, query, key, seen))


@torch.no_grad()
def test_blocks_are_cut_without_a_trace(monkeypatch):
    module = __import__("lmzoo.layers.attention.attention_weights", fromlist=["_AT_ONCE"])
    layer = SigmoidAttention(32, 4, train_length=8)
    query, key, _ = (torch.randn(2, 4, 37, 8) for _ in range(3))
    whole = attention_weights(layer.attend, query, key, Visibility(37, 37, None, query.device))
    monkeypatch.setattr(module, "_AT_ONCE", 1)
    cut = attention_weights(layer.attend, query, key, Visibility(37, 37, None, query.device))
    torch.testing.assert_close(cut, whole)
