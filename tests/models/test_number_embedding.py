"""The structured start: what it draws, what it shares, what it leaves alone."""

import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.models import Decoder, structured_start

TRIADS, MAGNITUDES = 40, 5
STD = 0.02


def structure() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Every triad with every magnitude but one, in an order that is not the ids'."""
    pairs = torch.cartesian_prod(torch.arange(TRIADS), torch.arange(MAGNITUDES))[:-1]
    ids = 7 + torch.randperm(len(pairs), generator=torch.Generator().manual_seed(0))
    return ids, pairs[:, 0], pairs[:, 1]


def started(seed: int, d: int = 512, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    weight = torch.zeros(220, d, dtype=dtype)
    structured_start(weight, *structure(), std=STD, generator=torch.Generator().manual_seed(seed))
    return weight


def test_rows_are_sums_of_a_triads_part_and_a_magnitudes_part():
    ids, triads, magnitudes = structure()
    rows = started(0)[ids]
    row = {(int(t), int(m)): rows[i] for i, (t, m) in enumerate(zip(triads, magnitudes, strict=True))}
    for t in range(1, TRIADS - 1):
        for m in range(1, MAGNITUDES):
            # a sum of parts has no interaction: this difference of differences is zero exactly where it holds
            mixed = row[t, m] - row[t, 0] - row[0, m] + row[0, 0]
            torch.testing.assert_close(mixed, torch.zeros_like(mixed), rtol=0, atol=1e-8)


def test_the_variance_is_that_of_an_independent_start_and_half_of_it_is_shared():
    ids, triads, magnitudes = structure()
    rows = started(1)[ids]
    assert float(rows.var()) == pytest.approx(STD**2, rel=0.2)
    correlations = rows @ rows.T / (rows.size(1) * STD**2)
    same_triad = (triads[:, None] == triads) & (magnitudes[:, None] != magnitudes)
    same_magnitude = (triads[:, None] != triads) & (magnitudes[:, None] == magnitudes)
    neither = (triads[:, None] != triads) & (magnitudes[:, None] != magnitudes)
    assert float(correlations[same_triad].mean()) == pytest.approx(0.5, abs=0.05)
    assert float(correlations[same_magnitude].mean()) == pytest.approx(0.5, abs=0.05)
    assert float(correlations[neither].mean()) == pytest.approx(0.0, abs=0.05)


def test_the_seed_decides_and_other_rows_stay():
    ids, _, _ = structure()
    assert torch.equal(started(2), started(2))
    assert not torch.equal(started(2), started(3))
    others = torch.ones(220, dtype=torch.bool)
    others[ids] = False
    assert others.sum() == 220 - (TRIADS * MAGNITUDES - 1)
    assert not started(2)[others].any()


def test_a_tied_head_starts_from_the_same_rows_and_nothing_is_added():
    torch.manual_seed(0)
    decoder = Decoder(220, 16, 1, 2)
    before = sum(p.numel() for p in decoder.parameters())
    structured_start(decoder.embedding.weight, *structure(), std=STD, generator=torch.Generator().manual_seed(0))
    assert decoder.head.weight is decoder.embedding.weight
    assert sum(p.numel() for p in decoder.parameters()) == before
    assert decoder.embedding.weight.requires_grad
    assert torch.equal(decoder.embedding.weight[structure()[0]], started(0, 16, torch.float32)[structure()[0]])


def test_a_tokenizer_without_triads_is_refused():
    none = torch.zeros(0, dtype=torch.int64)
    with pytest.raises(ArgumentError, match="number_embedding: expected independent"):
        structured_start(torch.zeros(4, 4), none, none, none, std=STD, generator=torch.Generator())
    ids, triads, magnitudes = structure()
    with pytest.raises(ArgumentError, match="triad_index"):
        structured_start(torch.zeros(220, 4), ids, triads[1:], magnitudes, std=STD, generator=torch.Generator())
