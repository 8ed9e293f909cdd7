from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.layers import (
    AdaptiveSoftmaxHead,
    ComplexAttention,
    CorpusStatistics,
    FeedForward,
    Head,
    LearnedPosition,
    LinearHead,
    NoPosition,
    QKNormAttention,
    SoftmaxAttention,
    SSMaxAttention,
    VQLogitsHead,
)
from lmzoo.models import Decoder, LMZooForCausalLM, count, count_built
from safetensors.torch import load_file
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def test_counts_before_building_equal_counts_after(make: Callable[..., Decoder], arguments: dict[str, Any]) -> None:
    model = make(**arguments)
    state = torch.get_rng_state()
    counts = count(**({"vocab_size": 53, "d_model": 32, "n_layers": 2, "n_heads": 4} | arguments))
    assert torch.equal(state, torch.get_rng_state())
    assert counts.as_dict() == count_built(model).as_dict()
    assert counts.total == sum(p.numel() for p in model.parameters())
    assert counts.total == counts.embedding + counts.head + counts.other
    assert counts.training_flops_per_token(7) == count_built(model).training_flops_per_token(7)


def test_a_model_counted_by_hand() -> None:
    counts = count(100, d_model=16, n_layers=3, n_heads=4, feed_forward=FeedForward, head=LinearHead)
    block = 4 * 16 * 16 + 2 * 16 * 64
    assert counts.as_dict() == {
        "total": 1600 + 1600 + 3 * (block + 2 * 16) + 16,
        "embedding": 1600,
        "head": 1600,
        "tied": 0,
        "other": 3 * (block + 2 * 16) + 16,
        "head_table_bytes": 0,
    }
    # 6 FLOPs a weight; a causal row of 9 sees 5 keys on average, at 2 x 2 x 16 FLOPs, three times
    assert counts.training_flops_per_token(9) == 6 * (3 * block + 1600) + 3 * 3 * (5 * 2 * 2 * 16)


def test_tied_heads_own_nothing_and_multiply_all_the_same() -> None:
    tied = count(100, d_model=16, n_layers=1, n_heads=4)
    untied = count(100, d_model=16, n_layers=1, n_heads=4, head=LinearHead)
    assert (tied.head, tied.tied, untied.head, untied.tied) == (0, 1600, 1600, 0)
    assert tied.matmul_weights == untied.matmul_weights


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (partial(LinearHead, tied=True, bias=True), (100, 1600, 0)),
        (partial(LinearHead, bias=True), (1700, 0, 0)),
        # mapping and counts, 4 bytes a token each
        (partial(VQLogitsHead, codebook_size=7), (7 * 16, 0, 800)),
        (partial(VQLogitsHead, codebook_size=7, within_code="bias"), (7 * 16 + 100, 0, 800)),
        (partial(VQLogitsHead, codebook_size=7, within_code="class_softmax"), (7 * 16, 1600, 800)),
        (
            partial(VQLogitsHead, codebook_size=7, within_code="class_softmax", projection=True),
            (7 * 16 + 256, 1600, 800),
        ),
        (
            partial(VQLogitsHead, codebook_size=7, within_code="class_softmax", rows="own", rank=3),
            (7 * 16 + 3 * 100 + 3 * 16, 0, 800),
        ),
        # ranks, and 10 tokens and a cluster of 90 seen through 4 dimensions
        (partial(AdaptiveSoftmaxHead, cutoffs=[10]), (11 * 16 + 4 * 16 + 4 * 90, 0, 400)),
    ],
)
def test_what_a_head_holds_shares_and_stores(
    head: Callable[[int, int], Head], expected: tuple[int, int, int], tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {"d_model": 16, "n_layers": 1, "n_heads": 4, "head": head}
    counts, model = count(100, **arguments), Decoder(100, **arguments)
    assert (counts.head, counts.tied, counts.head_table_bytes) == expected
    assert counts.as_dict() == count_built(model).as_dict()
    LMZooForCausalLM.from_decoder(model).save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert sum(t.nbytes for t in stored.values() if not t.is_floating_point()) == expected[2]
    own = {n: t for n, t in stored.items() if n.startswith("decoder.head.") and t.is_floating_point()}
    assert sum(t.numel() for t in own.values()) == expected[0]


def test_learned_positions_belong_to_the_embedding() -> None:
    assert count(100, d_model=16, n_layers=1, n_heads=4, position=LearnedPosition(10)).embedding == 1600 + 160


@pytest.mark.parametrize("groups", [None, 2])
def test_flops_equal_what_torch_counts(groups: int | None) -> None:
    torch.manual_seed(0)
    length, batch = 128, 2
    attention = partial(SoftmaxAttention, n_kv_heads=groups)
    model = Decoder(64, 32, 2, 4, attention=attention)
    ids = torch.randint(64, (batch, length))
    with FlopCounterMode(display=False) as counter:
        torch.nn.functional.cross_entropy(model(ids).flatten(0, 1), ids.flatten()).backward()
    by_kind: dict[str, int] = {}
    for name, flops in counter.get_flop_counts()["Global"].items():
        kind = "attention" if "attention" in str(name) else "products"
        by_kind[kind] = by_kind.get(kind, 0) + flops
    counts = count_built(model)
    assert by_kind["products"] == 6 * counts.matmul_weights * batch * length
    # torch counts every pair of tokens, seen or not, and where it knows the kernel recomputes scores going backward
    pairs = 4.0 * 32 * length**2 * batch * 2
    if "attention" in by_kind:
        assert by_kind["attention"] in (3 * pairs, 3.5 * pairs)
    ours = 3 * sum(flops(length) for flops in counts.attention_flops) * batch * length
    assert ours == 3 * pairs * (length + 1) / (2 * length)


@pytest.mark.parametrize("attention", [ComplexAttention, QKNormAttention, SSMaxAttention, SoftmaxAttention])
def test_an_attention_layer_makes_the_products_that_it_states_and_no_others(attention: type) -> None:
    torch.manual_seed(0)
    length, batch = 64, 2
    position = None if attention is ComplexAttention else NoPosition()
    model = Decoder(64, 32, 1, 4, attention=attention, position=position)
    ids = torch.randint(64, (batch, length))
    # torch does not count inside all of its fused kernels
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        model(ids)
    counts = count_built(model)
    # forward alone, with torch counting pairs that are not seen too
    stated = 2 * counts.matmul_weights + counts.attention_flops[0](length) * 2 * length / (length + 1)
    assert counter.get_total_flops() == pytest.approx(stated * batch * length, rel=1e-12)


def test_a_head_that_knows_the_corpus_states_its_products_anew() -> None:
    head = partial(VQLogitsHead, codebook_size=7, within_code="class_softmax")
    sizes: dict[str, Any] = {"d_model": 16, "n_layers": 1, "n_heads": 4, "head": head}
    before, model = count(100, **sizes), Decoder(100, **sizes)
    model.head.use_corpus(CorpusStatistics(10**6 // torch.arange(1, 101) ** 2))
    after = before.with_head(model.head)
    stated = count_built(model)
    assert (after.matmul_weights, after.head_matmul_weights) == (stated.matmul_weights, stated.head_matmul_weights)
    assert after.matmul_weights < before.matmul_weights
    assert after.training_flops_per_token(9, head=False) == before.training_flops_per_token(9, head=False)


def test_the_body_is_what_embedding_and_head_are_not() -> None:
    sizes = {"d_model": 16, "n_layers": 2, "n_heads": 4, "feed_forward": FeedForward}
    bodies = {
        count(vocab, **sizes, head=head).training_flops_per_token(9, head=False)
        for vocab in (50, 100)
        for head in (LinearHead, partial(LinearHead, tied=True))
    }
    assert bodies == {6 * 2 * (4 * 16 * 16 + 2 * 16 * 64) + 3 * 2 * (5 * 2 * 2 * 16)}


def test_no_context() -> None:
    with pytest.raises(ArgumentError):
        count(8, d_model=8, n_layers=1, n_heads=2).training_flops_per_token(0)
