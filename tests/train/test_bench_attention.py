import pytest
from lmzoo.errors import ArgumentError
from lmzoo.train.bench import BENCHMARKS
from lmzoo.train.bench_attention import attention_costs, memory_growth


@pytest.mark.slow
def test_costs_are_one_record_a_layer_and_length():
    records = attention_costs(lengths=(64, 512), pairs=1)
    assert [(r["attention"], r["length"]) for r in records] == [
        (name, length) for name in ("softmax", "softplus") for length in (64, 512)
    ]
    assert all(r["seconds"] > 0 and r["bytes"] >= 0 for r in records)


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
