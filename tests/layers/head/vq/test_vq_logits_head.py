from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lmzoo.errors import ArgumentError
from lmzoo.layers import CorpusStatistics, VQLogitsHead, reference
from lmzoo.layers.functional import vq_nll
from lmzoo.layers.head.vq import class_nll as class_nll_module
from lmzoo.layers.testing.head_checks import HEAD_CHECKS
from torch import Tensor, nn

D, V, K = 12, 61, 9
COUNTS = torch.tensor([(7 * i) % 61 * (i % 5) for i in range(V)])  # with zeros and with ties

OPTIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "none, one code": {"codebook_size": 1},
    "none, every token a code": {"codebook_size": V},
    "random": {"mapping": "random"},
    "contiguous": {"mapping": "contiguous", "within_code": "bias"},
    "explicit, empty codes": {"mapping": [3 * (i % 3) for i in range(V)]},
    "unigram": {"within_code": "unigram", "token_counts": COUNTS},
    "unigram, empty codes": {"within_code": "unigram", "mapping": [3 * (i % 3) for i in range(V)]},
    "bias": {"within_code": "bias"},
    "bias, empty codes": {"within_code": "bias", "mapping": [8 - 2 * (i % 2) for i in range(V)]},
    "classes": {"within_code": "class_softmax"},
    "classes, cut tail": {"within_code": "class_softmax", "tail_codes": 5, "token_counts": COUNTS},
    "classes, even tail": {"within_code": "class_softmax", "tail_codes": K, "tail": "size"},
    "classes, empty codes": {"within_code": "class_softmax", "mapping": [8 - 2 * (i % 2) for i in range(V)]},
    "classes, one code": {"within_code": "class_softmax", "codebook_size": 1},
    "classes, every token a code": {"within_code": "class_softmax", "codebook_size": V},
    "classes, map": {"within_code": "class_softmax", "projection": True, "mapping": "random"},
    "classes, own rows": {"within_code": "class_softmax", "rows": "own", "mapping": "random", "seed": 3},
    "classes, low rank": {"within_code": "class_softmax", "rows": "own", "rank": 3, "tail_codes": 4},
}


def make(options: dict[str, Any], width: int = D, vocab: int = V) -> VQLogitsHead:
    head = VQLogitsHead(width, vocab, **({"codebook_size": K} | options))
    if head.token_bias is not None:
        nn.init.normal_(head.token_bias)
    if head.map is not None:
        nn.init.normal_(head.map, std=0.5)
    return head


def repeated(options: dict[str, Any]) -> dict[str, Any]:
    """The same for 16 V tokens."""
    return {k: list(v) * 16 if isinstance(v, list | Tensor) else v for k, v in options.items()}


def ready(options: dict[str, Any]) -> VQLogitsHead:
    head = make(options).double()
    if head.tied:
        head.tie(nn.Parameter(torch.randn(V, D, dtype=torch.float64)))
    return head


def dense(head: VQLogitsHead, hidden: Tensor, target: Tensor) -> Tensor:
    mapping, counts = head.codes.mapping, head.codes.counts.double()
    if head.within_code == "class_softmax":
        query = hidden if head.map is None else hidden @ head.map.T
        return reference.class_softmax_nll(hidden, head.codebook, mapping, target, query=query, rows=head._rows())
    bias = head.token_bias
    if head.within_code == "unigram":
        mass = torch.stack([(counts + 1)[mapping == k].sum() for k in mapping])
        bias = torch.log((counts + 1) / mass)
    return reference.vq_nll(hidden, head.codebook, mapping, target, token_bias=bias)


@pytest.mark.parametrize("name", HEAD_CHECKS)
@pytest.mark.parametrize("options", OPTIONS)
def test_contract(name: str, options: str) -> None:
    if name == "memory":  # which wants V well above d
        HEAD_CHECKS[name](partial(make, repeated(OPTIONS[options]), D, 16 * V))
        return
    HEAD_CHECKS[name](partial(make, OPTIONS[options]) if name != "arguments" else lambda: make(OPTIONS[options]))


@pytest.mark.parametrize("block", [1 << 22, 40])
@pytest.mark.parametrize("options", OPTIONS)
def test_equals_reference_in_value_and_every_gradient(
    options: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(class_nll_module, "_LARGEST_BLOCK", block)
    head = ready(OPTIONS[options])
    for n in (1, 63, 111):
        hidden = torch.randn(n, D, dtype=torch.float64, requires_grad=True)
        target, weight = torch.randint(V, (n,)), torch.rand(n, dtype=torch.float64)
        given, expected = head.nll(hidden, target), dense(head, hidden, target)
        assert torch.allclose(given, expected, rtol=0, atol=1e-12)
        wanted = [hidden, *head.parameters()]
        pairs = [torch.autograd.grad((weight * y).sum(), wanted, allow_unused=True) for y in (given, expected)]
        for parameter, *gradients in zip(wanted, *pairs):
            ours, theirs = (torch.zeros_like(parameter) if g is None else g for g in gradients)
            assert bool(ours.isfinite().all())
            assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("biased", [False, True])
def test_functional_gradcheck(biased: bool) -> None:
    mapping, target = torch.tensor([0, 3, 3, 1, 0, 3]), torch.tensor([5, 0, 3, 3, 1])
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((5, 4), (5, 4), (6,))]

    def nll(h: Tensor, c: Tensor, b: Tensor | None = None) -> Tensor:
        return vq_nll(h, c, mapping, target, token_bias=b)

    inputs = inputs if biased else inputs[:2]
    assert torch.autograd.gradcheck(nll, inputs)
    expected = reference.vq_nll(inputs[0], inputs[1], mapping, target, token_bias=inputs[2] if biased else None)
    assert torch.allclose(nll(*inputs), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"target": torch.tensor([0, 6])}, "target"),
        ({"target": torch.tensor([0, -1])}, "target"),
        ({"mapping": torch.tensor([0, 1, 2, 3, 4, 5])}, "mapping"),
        ({"mapping": torch.tensor([0, 1, -1, 0, 0, 0])}, "mapping"),
        ({"mapping": torch.zeros(6)}, "mapping"),
        ({"token_bias": torch.zeros(5)}, "token_bias"),
        ({"codebook": torch.zeros(5)}, "codebook"),
    ],
)
def test_functional_bad_arguments(change: dict[str, Any], argument: str) -> None:
    arguments: dict[str, Any] = {
        "hidden": torch.zeros(2, 4),
        "codebook": torch.zeros(5, 4),
        "mapping": torch.tensor([0, 1, 2, 0, 0, 0]),
        "target": torch.tensor([0, 5]),
    }
    with pytest.raises(ArgumentError) as caught:
        vq_nll(**(arguments | change))
    assert caught.value.argument == argument


@pytest.mark.parametrize(
    "options",
    [
        {"codebook_size": 0},
        {"codebook_size": V + 1},
        {"mapping": "kmean"},
        {"mapping": [0] * (V - 1)},
        {"mapping": [K] * V},
        {"within_code": "softmax"},
        {"tail": "both"},
        {"tail_codes": K + 1},
        {"rows": "mine"},
        {"rank": 3},
        {"rank": 0, "within_code": "class_softmax", "rows": "own"},
        {"projection": True},
        {"cooccurrence_rank": 0},
        {"cooccurrence_rank": V, "mapping": "cooccurrence"},
        {"token_counts": [1] * (V + 1)},
        {"token_counts": [-1] * V},
    ],
)
def test_bad_arguments(options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError) as caught:
        make(options)
    assert caught.value.argument == next(iter(options))


@pytest.mark.parametrize("options", ["none", "unigram", "bias, empty codes", "classes, cut tail", "classes, map"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_samples_follow_the_distribution(options: str, temperature: float) -> None:
    head, n = ready(OPTIONS[options]), 60_000
    hidden = torch.randn(1, D, dtype=torch.float64)
    with torch.no_grad():
        p = torch.softmax(head(hidden) / temperature, -1)[0]
    drawn = head.sample(hidden.expand(n, -1), temperature=temperature, generator=torch.Generator().manual_seed(1))
    seen = torch.bincount(drawn, minlength=V).double()
    likely = p * n > 5
    chi_square = float(((seen - n * p).square() / (n * p))[likely].sum())
    # five standard deviations above the mean of the distribution that chi-square then has
    assert chi_square < int(likely.sum()) + 5 * (2 * int(likely.sum())) ** 0.5
    again = head.sample(hidden.expand(n, -1), temperature=temperature, generator=torch.Generator().manual_seed(1))
    assert torch.equal(drawn, again)


@pytest.mark.parametrize("options", OPTIONS)
def test_greedy_takes_the_most_frequent_of_the_likeliest(options: str) -> None:
    head = ready(OPTIONS[options] | {"token_counts": COUNTS})
    with torch.no_grad():
        head.codebook[1:] = head.codebook[1:].round()  # ties between codes too
        head.codebook[-1] = head.codebook[0]
    hidden = torch.randn(40, D, dtype=torch.float64)
    logits = head(hidden)
    for row, token in zip(logits, head.greedy(hidden).tolist()):
        best = (row == row.max()).nonzero().squeeze(1).tolist()
        assert token == max(best, key=lambda v: (int(COUNTS[v]), -v))


def test_one_code_generates_the_most_frequent_token() -> None:
    head = VQLogitsHead(D, V, 1, token_counts=COUNTS)
    assert head.greedy(torch.randn(3, D)).tolist() == [int(COUNTS.argmax())] * 3
    assert int(COUNTS.argmax()) != 0


def clustered(rows: Tensor, k: int, seed: int) -> Tensor:
    return (torch.arange(len(rows)) + seed) % k


def test_kmeans_waits_for_the_corpus_and_is_stored_with_the_model() -> None:
    embedding = torch.randn(V, D)
    head = VQLogitsHead(D, V, K, mapping="kmeans", seed=2)
    with pytest.raises(ArgumentError, match="use_corpus"):
        head(torch.zeros(1, D))
    with pytest.raises(ArgumentError, match="trained model"):
        head.use_corpus(CorpusStatistics(COUNTS, cluster=clustered))
    head.use_corpus(CorpusStatistics(COUNTS, embedding=embedding, cluster=clustered))
    codes = (torch.arange(V) + 2) % K
    assert head.codes.mapping.tolist() == codes.tolist()
    assert torch.allclose(head.codebook[4], embedding[codes == 4].mean(0))
    loaded = VQLogitsHead(D, V, K, mapping="kmeans")
    loaded.load_state_dict(head.state_dict())
    hidden, target = torch.randn(5, D), torch.randint(V, (5,))
    assert torch.equal(loaded.nll(hidden, target), head.nll(hidden, target))
    assert torch.equal(loaded.greedy(hidden), head.greedy(hidden))


def test_cooccurrence_clusters_the_vectors_of_the_text() -> None:
    asked = []

    def vectors(rank: int) -> Tensor:
        asked.append(rank)
        return torch.zeros(V, rank)

    head = VQLogitsHead(D, V, K, mapping="cooccurrence", cooccurrence_rank=5, within_code="unigram")
    with pytest.raises(ArgumentError, match="text"):
        head.use_corpus(CorpusStatistics(COUNTS, cluster=clustered))
    before = head.codebook.clone()
    head.use_corpus(CorpusStatistics(COUNTS, cooccurrence=vectors, cluster=clustered))
    assert asked == [5]
    assert head.codes.mapping.tolist() == (torch.arange(V) % K).tolist()
    assert torch.equal(head.codebook, before)


def test_the_corpus_moves_a_frequency_mapping_but_not_counts_that_were_given() -> None:
    head, fixed = VQLogitsHead(D, V, K), VQLogitsHead(D, V, K, token_counts=COUNTS)
    assert head.codes.mapping.tolist() == [*range(K - 1), *[K - 1] * (V - K + 1)]
    for h in (head, fixed):
        h.use_corpus(CorpusStatistics(COUNTS if h is head else COUNTS.flip(0)))
        assert int(h.codes.mapping[COUNTS.argmax()]) == 0
    assert torch.equal(head.codes.mapping, fixed.codes.mapping)
    with pytest.raises(ArgumentError, match="token_counts"):
        head.use_corpus(CorpusStatistics(COUNTS[1:]))


@pytest.mark.parametrize("given", [True, False])
def test_bias_starts_as_the_unigram_head(given: bool) -> None:
    counts = {"token_counts": COUNTS} if given else {}
    bias, unigram = (VQLogitsHead(D, V, K, within_code=name, **counts).double() for name in ("bias", "unigram"))
    for head in (bias, unigram):
        head.initialise(0.1, torch.Generator().manual_seed(3))  # as a decoder does
        if not given:
            head.use_corpus(CorpusStatistics(COUNTS))
    hidden, every = torch.randn(1, D, dtype=torch.float64).expand(V, -1), torch.arange(V)
    assert torch.allclose(bias.nll(hidden, every), unigram.nll(hidden, every), rtol=0, atol=1e-12)
    masses = torch.zeros(K, dtype=torch.float64).index_add(0, bias.codes.mapping, bias.token_bias.exp())
    assert torch.allclose(masses, torch.ones(K, dtype=torch.float64), rtol=0, atol=1e-12)


def test_bias_without_counts_starts_at_zero() -> None:
    head = VQLogitsHead(D, V, K, within_code="bias")
    assert head.token_bias is not None
    assert not bool(head.token_bias.any())


def test_own_rows_start_at_those_of_a_trained_model() -> None:
    embedding = torch.randn(V, D)
    statistics = CorpusStatistics(COUNTS, embedding=embedding)
    own = partial(VQLogitsHead, D, V, K, mapping="random", within_code="class_softmax", rows="own")
    head = own()
    head.use_corpus(statistics)
    assert torch.equal(head.weight, embedding)
    # every code's tokens are then told apart as the model's own softmax does
    hidden, target = torch.randn(7, D), torch.randint(V, (7,))
    same_code = head.codes.mapping == head.codes.mapping[target][:, None]
    logits = (hidden @ embedding.T).masked_fill(~same_code, -torch.inf)
    query = torch.log_softmax(head(hidden).masked_fill(~same_code, -torch.inf), -1)
    rows = torch.arange(7)
    assert torch.allclose(query[rows, target], torch.log_softmax(logits, -1)[rows, target], atol=1e-5)
    for other in (own(rank=3), own(rank=D)):
        before = other.weight.clone()
        other.use_corpus(statistics)
        assert torch.equal(other.weight, before)


@pytest.mark.parametrize("within_code", ["none", "class_softmax"])
def test_arguments_on_the_meta_device(within_code: str) -> None:
    with torch.device("meta"):
        for mapping in ("random", "kmeans", [0] * V, "frequency"):
            head = VQLogitsHead(D, V, K, mapping=mapping, within_code=within_code)
            head.use_corpus(CorpusStatistics(COUNTS.cpu()))
    real = VQLogitsHead(D, V, K, within_code=within_code)
    shapes = [{n: t.shape for n, t in h.state_dict().items()} for h in (head, real)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("options", OPTIONS)
def test_products_are_stated_before_the_head_is_built(options: str) -> None:
    with torch.device("meta"):
        stated = make(OPTIONS[options]).matmul_weights()
    assert stated == make(OPTIONS[options]).matmul_weights()


@pytest.mark.parametrize("rank", [None, 3])
def test_products_of_classes_by_hand(rank: int | None) -> None:
    # 8 codes of one token, and 53 tokens of one code
    own = {} if rank is None else {"rows": "own", "rank": rank}
    head, width = VQLogitsHead(D, V, K, within_code="class_softmax", **own), rank or D
    body = K * D + (0 if rank is None else rank * D)
    tail = sum(1 / r for r in range(9, V + 1)) / sum(1 / r for r in range(1, V + 1))
    assert head.matmul_weights() == body + math.ceil(53 * tail) * width
    head.use_corpus(CorpusStatistics(COUNTS))
    rare = sorted(COUNTS.tolist())[:53]
    assert head.matmul_weights() == body + math.ceil(53 * sum(rare) / int(COUNTS.sum())) * width
    clustered_head = VQLogitsHead(D, V, K, mapping="kmeans", within_code="class_softmax", **own)
    assert clustered_head.matmul_weights() == body + 7 * width


def test_stated_products_are_those_that_are_made() -> None:
    counts = 10_000 // torch.arange(1, V + 1)
    head = make({"within_code": "class_softmax", "mapping": [0] * 40 + [1] * 20 + [2], "token_counts": counts})
    target, codes = torch.arange(V).repeat_interleave(counts), head.codes
    blocks = class_nll_module._blocks(codes.order, codes.offsets, codes.mapping, target, D)
    columns = sum(int((b.real_row.sum(1) * (~b.padding).sum((1, 2))).sum()) for b in blocks)
    assert head.matmul_weights() == K * D + math.ceil(columns / len(target)) * D


def test_types_leave_the_table_alone_and_autocast_the_arithmetic() -> None:
    head = make({"within_code": "unigram", "token_counts": COUNTS * 10_000})
    hidden, target = torch.randn(9, D), torch.randint(V, (9,))
    plain = head.nll(hidden, target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(head.nll(hidden, target), plain)
        assert head(hidden).dtype == torch.float32
    half = make({"within_code": "unigram", "token_counts": COUNTS * 10_000}).bfloat16()
    assert torch.equal(half.codes.counts, head.codes.counts)
    every = torch.exp(-half.nll(torch.randn(1, D).bfloat16().expand(V, -1), torch.arange(V)))
    assert float(every.detach().sum()) == pytest.approx(1.0, abs=1e-5)


def test_half_of_the_table_is_derived() -> None:
    head = make({"token_counts": COUNTS, "mapping": "random"})
    tables = {name: t for name, t in head.state_dict().items() if name.startswith("codes.")}
    assert {(name, t.dtype, t.numel()) for name, t in tables.items()} == {
        ("codes.mapping", torch.int32, V),
        ("codes.counts", torch.int32, V),
    }
    codes = head.codes
    rank = sorted(range(V), key=lambda v: (int(codes.mapping[v]), -int(COUNTS[v]), v))
    assert codes.order.tolist() == rank
    for k in range(K):
        members = [v for v in rank if int(codes.mapping[v]) == k]
        assert codes.order[codes.offsets[k] : codes.offsets[k + 1]].tolist() == members
        assert int(codes.mass[k]) == sum(int(COUNTS[v]) + 1 for v in members)


@pytest.mark.parametrize("within_code", ["none", "unigram", "class_softmax"])
def test_a_table_filled_in_place_serves_after_it_is_derived_also_in_inference_mode(within_code: str) -> None:
    source = make({"token_counts": COUNTS, "mapping": "random", "within_code": within_code})
    head = make({"mapping": "cooccurrence", "cooccurrence_rank": 5, "within_code": within_code})
    for h in (source, head):
        if h.tied:
            h.tie(nn.Parameter(torch.linspace(-1, 1, V * D).view(V, D)))
    state = head.state_dict(keep_vars=True)
    with torch.no_grad():
        for name, tensor in source.state_dict().items():
            state[name].copy_(tensor)
    hidden, target = torch.randn(5, D), torch.randint(V, (5,))
    with torch.inference_mode():
        assert torch.equal(head.nll(hidden, target), source.nll(hidden, target))
    head.nll(hidden, target).sum().backward()  # nothing that was derived above stands in the way


def test_counts_of_more_than_31_bits_lose_their_last_ones() -> None:
    counts = [5 << 32, (5 << 32) + 1, 3 << 31, 1, 0, *[7] * (V - 5)]
    head = make({"token_counts": counts, "within_code": "unigram", "mapping": [0] * 3 + [1] * (V - 3)})
    assert head.codes.counts[:6].tolist() == [5 << 28, 5 << 28, 3 << 27, 1, 0, 1]
    assert int(make({"token_counts": [(1 << 31) - 1] * V}).codes.mass.max()) >= 1 << 31
    shares = head.codes.log_within(torch.float64)[:3].exp()
    assert shares.tolist() == pytest.approx([10 / 23, 10 / 23, 3 / 23], rel=1e-8)
    wide = {n: torch.tensor(counts) if n.endswith("counts") else t for n, t in head.state_dict().items()}
    wide["codes.mapping"] = wide["codes.mapping"].long()
    for assign in (False, True):
        loaded = make({"within_code": "unigram"})
        loaded.load_state_dict(wide, assign=assign)
        for name, tensor in loaded.codes.state_dict().items():
            assert tensor.dtype == torch.int32
            assert torch.equal(tensor, head.codes.state_dict()[name])


@pytest.mark.parametrize(
    ("name", "value", "dtype"),
    [
        ("mapping", K, torch.int32),
        ("mapping", K, torch.int64),
        ("mapping", 1 << 32, torch.int64),
        ("counts", -5, torch.int32),
        ("counts", -5, torch.int64),
    ],
)
@pytest.mark.parametrize("assign", [False, True])
def test_a_table_out_of_range_is_not_loaded(name: str, value: int, dtype: torch.dtype, assign: bool) -> None:
    state = make({}).state_dict()
    state[f"codes.{name}"] = state[f"codes.{name}"].to(dtype)
    state[f"codes.{name}"][4] = value
    with pytest.raises(ArgumentError, match=name):
        make({}).load_state_dict(state, assign=assign)


def test_health_by_hand() -> None:
    head = VQLogitsHead(4, 6, 4, mapping=[0, 0, 1, 2, 2, 2], token_counts=[3, 1, 4, 0, 0, 0])
    assert head.health() == {
        "code_perplexity": pytest.approx(2.0),
        "dead_codes": 2.0,
        "empty_codes": 1.0,
        "largest_code": 3.0,
        "shared_tokens": 0.5,
    }


@pytest.mark.parametrize("options", ["unigram", "classes, map"])
def test_compiles(options: str) -> None:
    head = ready(OPTIONS[options]).float()
    hidden, target = torch.randn(20, D, requires_grad=True), torch.randint(V, (20,))
    compiled = torch.compile(head.nll, fullgraph=True, backend="aot_eager")
    values = [f(hidden, target) for f in (compiled, head.nll)]
    assert torch.allclose(*values, atol=1e-5)
    gradients = [torch.autograd.grad(y.square().sum(), [hidden, *head.parameters()]) for y in values]
    for a, b in zip(*gradients):
        assert torch.allclose(a, b, atol=1e-4)


def test_each_row_of_a_class_gets_the_same_as_alone() -> None:
    head = ready(OPTIONS["classes, cut tail"])
    hidden, target = torch.randn(50, D, dtype=torch.float64), torch.randint(V, (50,))
    alone = torch.cat([head.nll(h, t) for h, t in zip(hidden.split(1), target.split(1))])
    assert torch.allclose(head.nll(hidden, target), alone, rtol=0, atol=1e-12)


def test_a_code_alone_costs_its_target_nothing() -> None:
    head = ready(OPTIONS["classes, cut tail"])
    single = (head.codes.sizes()[head.codes.mapping] == 1).nonzero().squeeze(1)
    hidden = torch.randn(len(single), D, dtype=torch.float64)
    log_code = torch.log_softmax(hidden @ head.codebook.T + head.codes.sizes().double().log(), -1)
    expected = F.nll_loss(log_code, head.codes.mapping[single].long(), reduction="none")
    assert len(single) >= K - 5
    assert torch.allclose(head.nll(hidden, single), expected, rtol=0, atol=1e-12)
