"""A window of W keys is, row by row, the layer itself on those W keys; votes choose keys as written down by hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.layers import (
    ALiBi,
    Attention,
    ComplexAttention,
    QKNormAttention,
    ReLUAttention,
    SigmoidAttention,
    SoftmaxAttention,
    SoftplusAttention,
    SSMaxAttention,
    T5Bias,
    reference,
)
from lmzoo.layers.attention.selective_mix import elect
from lmzoo.layers.attention.sliding_window import mixes_by_softmax, windowed
from lmzoo.layers.attention.visibility import KeySelection, Visibility
from lmzoo.layers.testing.attention_checks import ATTENTION_CHECKS
from torch import Tensor

CPU = torch.device("cpu")
LAYERS: dict[str, Callable[[], Attention]] = {
    "softmax": partial(SoftmaxAttention, 32, 4, n_kv_heads=2),
    "alibi": partial(SoftmaxAttention, 32, 4, position=ALiBi),
    "t5": partial(SoftmaxAttention, 32, 4, position=T5Bias),
    "complex": partial(ComplexAttention, 32, 4, n_kv_heads=2),
    "qk norm": partial(QKNormAttention, 32, 4),
    "ssmax": partial(SSMaxAttention, 32, 4, position=ALiBi),
    "sigmoid": partial(SigmoidAttention, 32, 4, train_length=16),
    "relu": partial(ReLUAttention, 32, 4, n_kv_heads=2),
    "softplus": partial(SoftplusAttention, 32, 4, n_kv_heads=2),
    "lssa": partial(SoftplusAttention, 32, 4, power=None),
}
SOFTMAX = [
    name for name in LAYERS if LAYERS[name]().__class__ not in (SigmoidAttention, ReLUAttention, SoftplusAttention)
]


def with_window(name: str, window: int) -> Attention:
    layer = LAYERS[name]()
    layer.__dict__["attend"] = windowed(layer.attend, window, by_mask=mixes_by_softmax(layer))
    return layer


def with_selection(name: str, selection: KeySelection) -> Attention:
    layer = LAYERS[name]()
    attend = layer.attend

    def selective(query: Tensor, key: Tensor, value: Tensor, visibility: Visibility) -> Tensor:
        return attend(query, key, value, visibility.limited(selection=selection))

    layer.__dict__["attend"] = selective
    return layer


@pytest.mark.parametrize(("n_queries", "n_keys", "window"), [(1, 6, 2), (3, 6, 2), (6, 6, 1), (6, 6, 4), (6, 6, 9)])
@pytest.mark.parametrize("padded", [False, True])
def test_mask_and_counts_of_a_window(n_queries: int, n_keys: int, window: int, padded: bool) -> None:
    key_mask = torch.tensor([[0, 0, 1, 1, 0, 1], [1, 1, 1, 1, 1, 0]], dtype=torch.bool) if padded else None
    rows, columns = torch.arange(n_keys - n_queries, n_keys)[:, None], torch.arange(n_keys)
    expected = reference.visible(n_queries, n_keys, key_mask, CPU) & (rows - columns < window)
    visibility = Visibility(n_queries, n_keys, key_mask, CPU, window=window)
    assert torch.equal(visibility.mask(), expected)
    assert torch.equal(visibility.counts(), expected.sum(-1)[:, 0])


def test_a_strip_sees_what_its_rows_see() -> None:
    key_mask = torch.rand(2, 40) > 0.3
    whole = Visibility(31, 40, key_mask, CPU, window=7)
    for a, b in ((0, 1), (0, 5), (3, 17), (30, 31)):
        keys, strip = whole.strip(a, b)
        outside = torch.ones(40, dtype=torch.bool)
        outside[keys] = False
        assert torch.equal(strip.mask(), whole.mask()[:, :, a:b, keys])
        assert not whole.mask()[:, :, a:b, outside].any()
        assert torch.equal(
            strip.counts()[key_mask[:, 9 + a : 9 + b]], whole.counts()[:, a:b][key_mask[:, 9 + a : 9 + b]]
        )


@torch.no_grad()
@pytest.mark.parametrize("window", [1, 5, 23, 150, 200])
@pytest.mark.parametrize("name", LAYERS)
def test_every_row_is_the_layer_on_its_own_keys(name: str, window: int) -> None:
    layer = LAYERS[name]().double()
    length = 150  # more than a strip of rows
    query = torch.randn(2, 4, length, 8, dtype=torch.float64)
    key, value = (torch.randn(2, layer.n_kv_heads, length, 8, dtype=torch.float64) for _ in range(2))
    attend = windowed(layer.attend, window, by_mask=mixes_by_softmax(layer))
    given = attend(query, key, value, Visibility(length, length, None, CPU))
    for i in (0, 1, 4, 22, 23, 100, 149):
        seen = slice(max(0, i - window + 1), i + 1)
        n = seen.stop - seen.start
        alone = layer.attend(query[:, :, i : i + 1], key[:, :, seen], value[:, :, seen], Visibility(1, n, None, CPU))
        torch.testing.assert_close(given[:, :, i : i + 1], alone, rtol=1e-9, atol=1e-12)
    if window >= length:
        assert torch.equal(given, layer.attend(query, key, value, Visibility(length, length, None, CPU)))


@torch.no_grad()
def test_softmax_and_softplus_windows_against_the_reference() -> None:
    window, length = 9, 40
    query, key, value = (torch.randn(2, 4, length, 8, dtype=torch.float64) for _ in range(3))
    for layer, dense in (
        (SoftmaxAttention(32, 4), reference.softmax_attention),
        (SoftplusAttention(32, 4, power=3.0), partial(reference.softplus_attention, power=3.0)),
    ):
        attend = windowed(layer.attend, window, by_mask=mixes_by_softmax(layer))
        given = attend(query, key, value, Visibility(length, length, None, CPU))
        for i in range(length):
            seen = slice(max(0, i - window + 1), i + 1)
            row = dense(query[:, :, i : i + 1], key[:, :, seen], value[:, :, seen])
            torch.testing.assert_close(given[:, :, i : i + 1], row, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("check", ["causality", "padding", "cache", "batch", "finite"])
@pytest.mark.parametrize("name", LAYERS)
def test_contract_of_windows(name: str, check: str) -> None:
    ATTENTION_CHECKS[check](partial(with_window, name, 7))


@pytest.mark.parametrize("name", ["softmax", "t5", "softplus"])
def test_memory_of_windows(name: str) -> None:
    ATTENTION_CHECKS["memory"](partial(with_window, name, 16))


@pytest.mark.parametrize("check", ["causality", "padding", "cache", "batch", "finite"])
@pytest.mark.parametrize("name", SOFTMAX)
def test_contract_of_selections(name: str, check: str) -> None:
    ATTENTION_CHECKS[check](partial(with_selection, name, KeySelection(3, recent=2, sinks=2)))


@pytest.mark.parametrize("name", ["softmax", "t5"])
def test_memory_of_selections(name: str) -> None:
    ATTENTION_CHECKS["memory"](partial(with_selection, name, KeySelection(3, recent=2, sinks=2)))


def test_a_subclass_of_its_own_is_windowed_row_by_row() -> None:
    class Own(SoftmaxAttention):
        def attend(self, query: Tensor, key: Tensor, value: Tensor, visibility: Visibility) -> Tensor:
            blind = Visibility(visibility.n_queries, visibility.n_keys, visibility.key_mask, query.device)
            return super().attend(query, key, value, blind)

    class Plain(SoftmaxAttention):
        pass

    assert mixes_by_softmax(Plain(32, 4))
    assert not mixes_by_softmax(Own(32, 4))


def chosen_by_hand(scores: Tensor, i: int, k: int, recent: int, sinks: int) -> set[int]:
    """S_i of one sequence, scores (H, T, T)."""
    always = {j for j in range(i + 1) if j > i - recent or j < sinks}
    candidates = [j for j in range(i + 1) if j not in always]
    if not candidates:
        return always
    votes = torch.zeros(len(candidates), dtype=torch.float64)
    for head in scores:
        exponentials = torch.exp(head[i, candidates])
        votes += exponentials / exponentials.sum()
    best = sorted(range(len(candidates)), key=lambda c: -float(votes[c]))[:k]
    return always | {candidates[c] for c in best}


@torch.no_grad()
@pytest.mark.parametrize(("k", "recent", "sinks"), [(1, 1, 0), (4, 3, 2), (7, 1, 5)])
def test_votes_and_output_by_hand(k: int, recent: int, sinks: int) -> None:
    layer, length = SoftmaxAttention(32, 4, n_kv_heads=2).double(), 30
    query = 2.0 * torch.randn(1, 4, length, 8, dtype=torch.float64)
    key, value = (torch.randn(1, 2, length, 8, dtype=torch.float64) for _ in range(2))
    keys, values = (z.repeat_interleave(2, dim=1)[0] for z in (key, value))
    scores = query[0] @ keys.transpose(1, 2) / 8**0.5
    selection = KeySelection(k, recent=recent, sinks=sinks)
    given = layer.attend(query, key, value, Visibility(length, length, None, CPU, selection=selection))[0]
    mask = elect(scores[None], Visibility(length, length, None, CPU).mask(), 0, selection)[0, 0]
    for i in range(length):
        chosen = sorted(chosen_by_hand(scores, i, k, recent, sinks))
        assert mask[i].nonzero().flatten().tolist() == chosen
        assert len(chosen) <= selection.total
        weights = torch.softmax(scores[:, i, chosen], dim=-1)
        expected = (weights[:, None] @ values[:, chosen])[:, 0]
        torch.testing.assert_close(given[:, i], expected, rtol=1e-10, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("name", SOFTMAX)
def test_enough_keys_are_full_attention_exactly(name: str) -> None:
    torch.manual_seed(3)
    plain = LAYERS[name]()
    torch.manual_seed(3)
    selective = with_selection(name, KeySelection(41))
    x = torch.randn(2, 41, 32)
    assert torch.equal(selective(x), plain(x))
    torch.manual_seed(3)
    fewer = with_selection(name, KeySelection(2))
    assert not torch.allclose(fewer(x), plain(x), atol=1e-4)


@torch.no_grad()
def test_changing_the_future_changes_no_choice() -> None:
    scores = torch.randn(1, 4, 50, 50, dtype=torch.float64)
    visible = Visibility(50, 50, None, CPU).mask()
    selection = KeySelection(5, recent=2, sinks=1)
    before = elect(scores, visible, 0, selection)
    for cut in (1, 7, 23, 48):
        changed = scores.clone()
        changed[..., cut + 1 :] = 100.0 * torch.randn_like(changed[..., cut + 1 :])
        assert torch.equal(elect(changed, visible, 0, selection)[:, :, : cut + 1], before[:, :, : cut + 1])


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: KeySelection(0), "keys"),
        (lambda: KeySelection(1, recent=0), "recent"),
        (lambda: KeySelection(1, sinks=-1), "sinks"),
        (lambda: Visibility(1, 1, None, CPU, window=0), "window"),
    ],
)
def test_bad_numbers(make: Callable[[], object], argument: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert caught.value.argument == argument
