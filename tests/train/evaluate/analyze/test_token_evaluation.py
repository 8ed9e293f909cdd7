"""Loss by decile of training frequency against brute force in float64."""

import math

import numpy as np
import pytest
import torch
from lmzoo.models import Decoder
from lmzoo.train.evaluate.analyze.deciles import BUCKETS, DECILES, LossByType, frequency_buckets, score_by_type


def brute_buckets(counts):
    """Walk through the types, most frequent first, and look in which tenth of the text each begins."""
    order = sorted(range(len(counts)), key=lambda i: (-counts[i], i))
    total, before, bucket = sum(counts), 0, {}
    for i in order:
        bucket[i] = DECILES if counts[i] == 0 else math.floor(10 * before / total)
        before += counts[i]
    return [bucket[i] for i in range(len(counts))]


def test_ten_equal_types_are_a_decile_each():
    assert frequency_buckets(np.full(10, 3)).tolist() == list(range(10))


def test_hand_worked_buckets():
    # in order: id 2 (50 of 100) begins at 0, id 0 (30) at 50, id 3 (15) at 80, id 4 (5) at 95; id 1 is never seen
    assert frequency_buckets(np.array([30, 0, 50, 15, 5])).tolist() == [5, 10, 0, 8, 9]


def test_equal_counts_go_by_id():
    assert frequency_buckets(np.array([1, 1, 1, 1, 6])).tolist() == [6, 7, 8, 9, 0]


@pytest.mark.parametrize("seed", range(4))
def test_buckets_of_a_zipf_vocabulary(seed):
    draw = np.random.default_rng(seed)
    counts = np.bincount(np.minimum(draw.zipf(1.3, 5000), 700) - 1, minlength=701)
    draw.shuffle(counts)
    buckets = frequency_buckets(counts)
    assert buckets.tolist() == brute_buckets(counts.tolist())
    lowest = [counts[buckets == k].min() for k in range(10) if (buckets == k).any()]
    assert lowest == sorted(lowest, reverse=True)


def test_nothing_counted_is_all_unseen():
    assert frequency_buckets(np.zeros(3, dtype=np.int64)).tolist() == [10, 10, 10]


def batches(vocab_size, rows, length, seed):
    draw = torch.Generator().manual_seed(seed)
    made = []
    for b in rows:
        scored = torch.rand(b, length, generator=draw) < 0.8
        made.append(
            {
                "input_ids": torch.randint(0, vocab_size, (b, length + 1), generator=draw),
                "scored": scored,
                "words": torch.randint(0, 3, (b, length), generator=draw),
                "bytes": torch.randint(1, 9, (b, length), generator=draw),
            }
        )
    return made


def test_every_bucket_equals_a_token_by_token_sum():
    torch.manual_seed(0)
    V = 23
    model = Decoder(V, 12, 2, 2).double().eval()
    data = batches(V, [3, 3, 1], 9, seed=1)
    counts = np.array([int(1000 / (i + 1)) if i % 7 else 0 for i in range(V)])
    done = []
    sums = score_by_type(model, {"plain": model.head}, data, done.append)["plain"]
    record = sums.record(counts)

    bucket = brute_buckets(counts.tolist())
    nll, tokens, words, n_bytes = [0.0] * 11, [0] * 11, 0, 0
    for batch in data:
        with torch.no_grad():
            log_p = model(batch["input_ids"][:, :-1]).log_softmax(-1)
        for b in range(len(log_p)):
            for t in range(log_p.size(1)):
                if batch["scored"][b, t]:
                    target = int(batch["input_ids"][b, t + 1])
                    nll[bucket[target]] -= float(log_p[b, t, target])
                    tokens[bucket[target]] += 1
                    words += int(batch["words"][b, t])
                    n_bytes += int(batch["bytes"][b, t])
    assert [row["bucket"] for row in record["buckets"]] == list(BUCKETS)
    assert [row["tokens"] for row in record["buckets"]] == tokens
    assert tokens[10] > 0, "unseen ids were scored too"
    for row, total, n in zip(record["buckets"], nll, tokens, strict=True):
        assert row["nll"] == pytest.approx(total, rel=1e-12)
        assert math.isnan(row["cross_entropy"]) if n == 0 else row["cross_entropy"] == row["nll"] / n
    assert (record["words"], record["bytes"]) == (words, n_bytes)
    assert record["nll"] == sum(row["nll"] for row in record["buckets"])
    assert record["tokens"] == sum(tokens)
    assert record["cross_entropy"] == pytest.approx(sum(nll) / sum(tokens), rel=1e-13)
    assert sum(row["types"] for row in record["buckets"]) == V
    assert sum(row["training_tokens"] for row in record["buckets"]) == counts.sum()
    assert done == [1, 1, 1]


def test_sums_are_float64():
    sums = LossByType(2)
    batch = {name: torch.ones(1, 1, dtype=torch.int64) for name in ("words", "bytes")}
    batch |= {"input_ids": torch.tensor([[0, 1]]), "scored": torch.ones(1, 1, dtype=torch.bool)}
    sums.update(torch.full((1, 1), 1e8), batch)
    for _ in range(100):
        sums.update(torch.full((1, 1), 0.25), batch)
    assert sums.record(np.array([1, 1]))["nll"] == 1e8 + 25.0  # float32 would have lost every quarter


def test_several_heads_are_scored_on_the_same_hidden_states():
    torch.manual_seed(2)
    model = Decoder(11, 8, 1, 2).double().eval()
    log_weight = torch.linspace(-1, 1, 11, dtype=torch.float64)
    data = batches(11, [2], 5, seed=3)
    sums = score_by_type(model, {"plain": model.head, "debiased": model.head.debias(log_weight)}, data)
    ids, scored = data[0]["input_ids"], data[0]["scored"]
    with torch.no_grad():
        logits = model(ids[:, :-1]) - log_weight
    expected = torch.nn.functional.cross_entropy(logits[scored], ids[:, 1:][scored], reduction="sum")
    assert float(sums["debiased"].nll.sum()) == pytest.approx(float(expected), rel=1e-12)
    assert float(sums["plain"].nll.sum()) != pytest.approx(float(expected), rel=1e-3)
    assert torch.equal(sums["plain"].tokens, sums["debiased"].tokens)
