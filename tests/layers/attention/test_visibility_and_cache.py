from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from lmzoo.layers import KeyCache, reference
from lmzoo.layers.attention.visibility import Visibility


@pytest.mark.parametrize(("n_queries", "n_keys"), [(1, 1), (1, 6), (3, 6), (6, 6)])
@pytest.mark.parametrize("padded", [False, True])
def test_mask_and_counts(n_queries: int, n_keys: int, padded: bool) -> None:
    key_mask = torch.tensor([[0, 0, 1, 1, 0, 1], [1, 1, 1, 1, 1, 0]], dtype=torch.bool)[:, :n_keys] if padded else None
    visibility = Visibility(n_queries, n_keys, key_mask, torch.device("cpu"))
    expected = reference.visible(n_queries, n_keys, key_mask, torch.device("cpu"))
    assert torch.equal(visibility.mask(), expected)
    assert torch.equal(visibility.counts(), expected.sum(-1)[:, 0])


def test_counts_of_a_left_padded_row() -> None:
    key_mask = torch.tensor([[False, False, True, True, True]])
    assert Visibility(5, 5, key_mask, torch.device("cpu")).counts().tolist() == [[1, 1, 1, 2, 3]]


def test_cache_returns_everything_in_order() -> None:
    cache, chunks = KeyCache(), [torch.randn(2, 3, n, 4) for n in (5, 1, 40, 1, 1)]
    for i, chunk in enumerate(chunks):
        key, value = cache.update(chunk, -chunk, 7)
        expected = torch.cat(chunks[: i + 1], dim=2)
        assert torch.equal(key, expected)
        assert torch.equal(value, -expected)
    assert cache.get_seq_length(7) == 48
    assert cache.get_seq_length() == 0


def test_steps_copy_no_more_than_twice_the_keys() -> None:
    cache, moves, last = KeyCache(), 0, 0
    for _ in range(1000):
        key, _ = cache.update(torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 1, 2), 0)
        pointer = key.untyped_storage().data_ptr()
        moves, last = moves + (pointer != last), pointer
    assert moves <= 8


def test_gradients_flow_through_cached_keys() -> None:
    cache = KeyCache()
    first, second = (torch.randn(1, 1, 2, 3, requires_grad=True) for _ in range(2))
    cache.update(first, first, 0)
    key, _ = cache.update(second, second, 0)
    key.sum().backward()
    assert first.grad is not None
    assert torch.equal(first.grad, torch.ones_like(first))


def test_importing_the_layers_loads_torch_and_nothing_heavier() -> None:
    heavy = ("transformers", "lightning", "datasets", "tokenizers", "pandas", "jsonargparse")
    code = "import sys, lmzoo.layers, lmzoo.layers.functional, lmzoo.layers.reference, lmzoo.layers.testing\n"
    code += f"print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
