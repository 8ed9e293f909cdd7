from __future__ import annotations

import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.models.replace.host_call import check_positions, key_mask_of
from torch import Tensor

LEFT = torch.arange(7)[None] >= torch.tensor([[0], [2], [5]])
RIGHT = LEFT.flip(1)
CAUSAL = torch.ones(7, 7, dtype=torch.bool).tril()


def pairs(real: Tensor) -> Tensor:
    return (CAUSAL & real[:, None])[:, None]


@pytest.mark.parametrize("real", [LEFT, RIGHT, RIGHT & (torch.arange(7) < 5)], ids=["left", "right", "right for all"])
def test_padding_is_read_from_every_form(real: Tensor) -> None:
    diagonal = pairs(real) | torch.eye(7, dtype=torch.bool)
    empty_rows_opened = pairs(real) | ~pairs(real).any(dim=-1, keepdim=True)
    # a last row of padding that sees itself cannot be told from a real one; it does no other row harm
    for mask in (real, real.long(), pairs(real), diagonal if real is LEFT else real, empty_rows_opened):
        read = key_mask_of(mask, 3, 7, 7)
        assert read is not None
        assert torch.equal(read, real)
    additive = torch.zeros(3, 1, 7, 7).masked_fill(~pairs(real), torch.finfo(torch.float32).min)
    for mask in (additive, additive.clamp(min=-1e4), additive.masked_fill(additive < 0, -torch.inf)):
        read = key_mask_of(mask, 3, 7, 7)
        assert read is not None
        assert torch.equal(read, real)


def test_chunks_at_the_end_of_the_keys() -> None:
    for n in (1, 3):
        read = key_mask_of(pairs(LEFT)[:, :, -n:], 3, n, 7)
        assert read is not None
        assert torch.equal(read, LEFT)
        assert key_mask_of(CAUSAL[None, None, -n:], 3, n, 7) is None
    assert key_mask_of(None, 3, 7, 7) is None
    assert key_mask_of(torch.ones(3, 7), 3, 7, 7) is None


DOCUMENT = torch.arange(7) // 3
REFUSED = {
    "two documents": CAUSAL & (DOCUMENT[:, None] == DOCUMENT),
    "two documents, the first as long as the second": CAUSAL
    & ((torch.arange(7) < 3)[:, None] == (torch.arange(7) < 3)),
    "a window": CAUSAL & ~CAUSAL.tril(-3),
    "everything": torch.ones(7, 7, dtype=torch.bool),
    "the future of one row": CAUSAL | (torch.arange(7) == 5)[:, None],
    "nothing": torch.zeros(7, 7, dtype=torch.bool) & CAUSAL | torch.eye(7, dtype=torch.bool).roll(1, 1),
}


@pytest.mark.parametrize("name", REFUSED)
def test_masks_that_say_more_are_refused(name: str) -> None:
    with pytest.raises(ArgumentError, match="attention_mask: expected a mask that hides the future and padding"):
        key_mask_of(REFUSED[name][None, None], 3, 7, 7)


def test_static_caches_and_wrong_shapes_are_refused() -> None:
    filled = (torch.arange(9) < 4)[None, None, None]
    with pytest.raises(ArgumentError, match="no static cache"):
        key_mask_of(filled, 3, 1, 9)
    for mask in (torch.ones(3, 6), torch.ones(2, 7), torch.ones(3, 2, 7, 7), torch.ones(3, 1, 7, 8), torch.ones(7)):
        with pytest.raises(ArgumentError, match="attention_mask: expected shape"):
            key_mask_of(mask, 3, 7, 7)
    with pytest.raises(ArgumentError, match="attention_mask: expected a tensor or None"):
        key_mask_of("mask", 3, 7, 7)  # type: ignore[arg-type]
    slope = torch.zeros(3, 1, 7, 7).masked_fill(~CAUSAL, -torch.inf) - 0.1 * torch.arange(7)
    with pytest.raises(ArgumentError, match="biases in between"):
        key_mask_of(slope, 3, 7, 7)


def test_positions_count_all_tokens_or_the_real_ones() -> None:
    index = torch.arange(4, 7)
    check_positions(None, LEFT, 4)
    check_positions(index[None], None, 4)
    check_positions(index.expand(3, 3), LEFT, 4)
    counted = (LEFT.cumsum(1) - 1).clamp(min=0)
    check_positions(counted[:, 4:], LEFT, 4)
    check_positions(counted, LEFT, 0)
    for wrong in (index[None] + 1, index[None].flip(1), index[None] % 6, index.expand(3, 1, 3)):
        for mask in (None, LEFT):
            with pytest.raises(ArgumentError, match="position_ids: expected positions that count"):
                check_positions(wrong, mask, 4)
