"""The perplexity metric against hand-worked sums."""

import math

import pytest
import torch
from lmzoo.train.fit.perplexity import MOST_DOCUMENTS, TextPerplexity, figures


def test_hand_worked_sum_over_ragged_batches():
    metric = TextPerplexity()
    nll = torch.tensor([[1.0, 2.0, 9.0], [3.0, 9.0, 9.0]])
    scored = torch.tensor([[True, True, False], [True, False, False]])
    words = torch.tensor([[0, 1, 5], [1, 7, 7]])
    n_bytes = torch.tensor([[4, 2, 50], [6, 70, 70]])
    metric.update(nll, scored, words, n_bytes)
    metric.update(torch.tensor([[6.0]]), torch.tensor([[True]]), torch.tensor([[0]]), torch.tensor([[0]]))
    result = metric.compute()
    assert (result["nll"], result["tokens"], result["words"], result["bytes"]) == (12.0, 4, 2, 12)
    assert result["token_perplexity"] == pytest.approx(math.exp(12 / 4), rel=1e-15)
    assert result["word_perplexity"] == pytest.approx(math.exp(12 / 2), rel=1e-15)
    assert result["bits_per_byte"] == pytest.approx(12 / (math.log(2) * 12), rel=1e-15)


def test_one_division_is_not_the_mean_of_window_means():
    metric = TextPerplexity()
    one = torch.ones(1, 3, dtype=torch.int64)
    metric.update(torch.tensor([[1.0, 1.0, 1.0]]), one.bool(), one, one)
    metric.update(torch.tensor([[5.0]]), one[:, :1].bool(), one[:, :1], one[:, :1])
    assert metric.compute()["cross_entropy"] == pytest.approx(8 / 4)  # the mean of means would be 3


def test_sums_are_float64():
    metric = TextPerplexity()
    one = torch.ones(1, 1, dtype=torch.int64)
    metric.update(torch.full((1, 1), 1e8), one.bool(), one, one)
    for _ in range(100):
        metric.update(torch.full((1, 1), 0.25), one.bool(), one, one)
    assert metric.compute()["nll"] == 1e8 + 25.0  # float32 would have lost every quarter
    assert metric.nll.dtype is torch.float64


@pytest.mark.parametrize(
    "convert",
    [lambda m: m.to(torch.bfloat16), lambda m: m.half(), lambda m: m.float(), lambda m: m.to(dtype=torch.half)],
)
def test_no_precision_of_a_model_reaches_the_sums(convert):
    model = torch.nn.Module()
    model.perplexity = TextPerplexity()
    convert(model)
    one = torch.ones(1, 1001, dtype=torch.int64)
    for _ in range(2):
        model.perplexity.update(torch.full((1, 1001), 0.1, dtype=torch.bfloat16), one.bool(), one, one)
        result = model.perplexity.compute()
        assert (result["tokens"], result["words"], result["bytes"]) == (1001, 1001, 1001)
        assert result["nll"] == pytest.approx(1001 * float(torch.tensor(0.1, dtype=torch.bfloat16)), rel=1e-12)
        model.perplexity.reset()  # the defaults that a reset brings back are as exact
        convert(model)


def test_states_add_up_across_processes():
    parts = [TextPerplexity(), TextPerplexity()]
    for i, metric in enumerate(parts):
        one = torch.ones(1, 2, dtype=torch.int64)
        metric.update(torch.full((1, 2), float(i + 1)), one.bool(), one, one * 3, torch.tensor([[i, 5]]))
    parts.append(TextPerplexity())  # of a process that had no batch
    joined = TextPerplexity()
    for name, reduction in joined._reductions.items():
        states = [getattr(m, name) for m in parts]
        gathered = [row for rows in states for row in rows] if name == "by_document" else torch.stack(states)
        setattr(joined, name, reduction(gathered))
    result = joined.compute()
    by_document = {"document": [0, 1, 5], "nll": [1.0, 2.0, 3.0], "tokens": [1, 1, 2], "words": [1, 1, 2]}
    assert result.pop("by_document") == {**by_document, "bytes": [3, 3, 6]}
    assert result == figures(6.0, 4, 4, 12)


def test_documents_that_end_within_a_batch_keep_their_own_sums():
    metric = TextPerplexity()
    nll, scored = torch.tensor([[1.0, 2.0, 4.0, 8.0]]), torch.tensor([[True, True, False, True]])
    words, size = torch.tensor([[1, 0, 9, 1]]), torch.tensor([[2, 3, 9, 5]])
    metric.update(nll, scored, words, size, torch.tensor([[3, 3, 4, 4]]))
    metric.update(nll * 10, scored, words, size, torch.tensor([[4, 4, 0, 6]]))
    found = metric.compute()["by_document"]
    assert found["document"] == [3, 4, 6]
    assert found["nll"] == [3.0, 38.0, 80.0]
    assert found["tokens"] == [2, 3, 1]
    assert found["words"] == [1, 2, 1]
    assert found["bytes"] == [5, 10, 5]
    metric.update(nll, scored, words, size)
    assert "by_document" not in metric.compute(), "they would not be the whole text"
    metric.reset()
    assert "by_document" not in metric.compute()


def test_of_too_many_documents_no_sums_are_kept():
    one, documents = torch.ones(1, MOST_DOCUMENTS, dtype=torch.int64), torch.arange(MOST_DOCUMENTS)[None]
    metric = TextPerplexity()
    metric.update(one.double(), one.bool(), one, one, documents)
    assert len(metric.compute()["by_document"]["nll"]) == MOST_DOCUMENTS
    metric.update(one.double()[:, :1], one.bool()[:, :1], one[:, :1], one[:, :1], documents[:, -1:] + 1)
    assert "by_document" not in metric.compute()


def test_nothing_scored_is_nan_and_overflow_is_infinite():
    empty = TextPerplexity().compute()
    assert math.isnan(empty["token_perplexity"])
    assert math.isnan(empty["bits_per_byte"])
    assert figures(1e6, 10, 1, 10)["word_perplexity"] == math.inf


def test_non_finite_nll_where_nothing_is_scored_does_no_harm():
    metric = TextPerplexity()
    metric.update(
        torch.tensor([[1.0, float("nan")]]),
        torch.tensor([[True, False]]),
        torch.tensor([[1, 0]]),
        torch.tensor([[1, 0]]),
    )
    assert metric.compute()["nll"] == 1.0
