from types import SimpleNamespace

import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.train.parts.bench import attention as bench_attention
from lmzoo.train.parts.bench.attention import LAYERS, attention_costs, memory_growth
from lmzoo.train.parts.bench.command import BENCHMARKS


@pytest.mark.slow
def test_costs_are_one_record_a_layer_and_length():
    records = attention_costs(lengths=(64, 512), pairs=1)
    assert [(r["attention"], r["length"]) for r in records] == [
        (name, length) for length in (64, 512) for name in ("softmax", "complex", "softplus", "softplus-dense")
    ]
    assert all(0 < r["low"] <= r["seconds"] <= r["high"] and r["bytes"] >= 0 for r in records)
    grown = {r["attention"]: r["bytes"] for r in records if r["length"] == 512}
    assert grown["softplus-dense"] > 3 * grown["softplus"]


def test_the_dense_reference_is_left_out_where_it_would_not_fit(monkeypatch):
    free = 2 * bench_attention._DENSE_MATRICES * 4 * 32 * 32 * 4
    monkeypatch.setattr(bench_attention.psutil, "virtual_memory", lambda: SimpleNamespace(available=free))
    monkeypatch.setattr(bench_attention, "in_fresh_process", lambda growth, name, length, device: 1)
    records = attention_costs(lengths=(33, 32), pairs=1)
    assert [r["length"] for r in records if r["attention"] == "softplus-dense"] == [32]
    assert [r["length"] for r in records if r["attention"] == "softplus"] == [32, 33]


def test_the_dense_layer_is_the_same_function():
    torch.manual_seed(0)
    layers = {name: kind(32, 4).double() for name, kind in LAYERS.items() if name.startswith("softplus")}
    layers["softplus-dense"].load_state_dict(layers["softplus"].state_dict())
    x = torch.randn(2, 40, 32, dtype=torch.float64)
    assert torch.allclose(layers["softplus"](x), layers["softplus-dense"](x), rtol=0, atol=1e-11)


@pytest.mark.parametrize(("change", "argument"), [({"pairs": 0}, "pairs"), ({"lengths": (4, 0)}, "lengths")])
def test_costs_refuse_numbers_out_of_range(change, argument):
    with pytest.raises(ArgumentError, match=argument):
        attention_costs(**{"lengths": (8,), "pairs": 1, **change})


def test_an_unknown_layer_is_an_error():
    with pytest.raises(ArgumentError, match="name"):
        memory_growth("sofmax", 64, "cpu")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["softplus", "softplus-reference"])
def test_a_bench_runs(name):
    result = BENCHMARKS[name](1, "cpu")
    assert result.name == name
    assert result.ours > 0
    assert result.speedup == pytest.approx(result.baseline / result.ours)
