import pytest
from lmzoo.errors import ArgumentError
from lmzoo.layers import LinearHead
from lmzoo.train.fit.measure import in_fresh_process
from lmzoo.train.parts.bench import heads as bench_heads
from lmzoo.train.parts.bench.command import BENCHMARKS
from lmzoo.train.parts.bench.heads import head_memory
from lmzoo.train.parts.bench.pairs import Case, compare


@pytest.mark.slow
@pytest.mark.parametrize("name", ["head-weighted", "vq", "vq-classes", "vq-logits-1", "vq-logits-16"])
def test_a_bench_runs(name, monkeypatch):
    monkeypatch.setattr(bench_heads, "VOCAB", 2000)
    result = BENCHMARKS[name](1, "cpu")
    assert result.name == name
    assert result.ours > 0
    assert result.speedup == pytest.approx(result.baseline / result.ours)


@pytest.mark.slow
def test_the_linear_head_needs_a_tenth_of_the_memory_of_all_logits():
    ours, plain = (in_fresh_process(head_memory, kind, "cpu") for kind in ("told", "plain"))
    logits = 4 * 4096 * bench_heads.VOCAB
    assert plain > logits
    assert ours < 150e6


def test_the_memory_is_that_of_training_where_a_loss_tells_its_weights(monkeypatch):
    told, nll = [], LinearHead.nll

    def noted(self, hidden, target, *, row_weight=None):
        told.append(row_weight is not None)
        return nll(self, hidden, target, row_weight=row_weight)

    monkeypatch.setattr(LinearHead, "nll", noted)
    for kind in ("told", "untold", "plain"):
        head_memory(kind, "cpu", rows=8, width=4, vocab=50)
    assert told == [True, True, False, False]  # each also once to warm up; the plain way does without the head


def test_an_unknown_kind_is_an_error():
    with pytest.raises(ArgumentError, match="kind"):
        head_memory("whole", "cpu")


def test_peaks_are_medians_and_extremes_of_at_most_three():
    ours, plain = iter([10.0, 20.0, 40.0]), iter([20.0, 80.0, 40.0])
    case = Case("what", lambda: next(ours), lambda: next(plain), note="a note", memory=True)
    result = compare("x", case, 15)
    assert (result.ours, result.baseline, result.pairs, result.unit) == (20.0, 40.0, 3, "MB")
    assert (result.low, result.speedup, result.high) == (1.0, 2.0, 4.0)
    assert result.note.startswith("a note; ")
