"""Decay groups and the learning-rate schedule."""

import math

import pytest
import torch
from lmzoo.models import Decoder
from lmzoo.train.fit.optimization import adamw, decay_groups, warmup_cosine
from torch import nn


def test_matrices_decay_and_nothing_else_does():
    model = Decoder(50, 16, 2, 2)
    decay, keep = decay_groups(model, 0.1)
    names = {id(p): n for n, p in model.named_parameters()}
    assert {names[id(p)].rsplit(".", 1)[1] for p in decay["params"]} == {"weight"}
    assert all(p.ndim == 2 for p in decay["params"])
    kept = {names[id(p)] for p in keep["params"]}
    assert "embedding.weight" in kept
    assert all("norm" in n or "embedding" in n for n in kept)
    total = sum(p.numel() for g in (decay, keep) for p in g["params"])
    assert total == sum(p.numel() for p in model.parameters()), "every parameter stands in exactly one group"
    assert (decay["weight_decay"], keep["weight_decay"]) == (0.1, 0.0)


def test_a_part_can_keep_its_parameters_from_decaying():
    class Part(nn.Module):
        no_weight_decay = ("delta",)

        def __init__(self):
            super().__init__()
            self.delta = nn.Parameter(torch.ones(2, 2))
            self.weight = nn.Parameter(torch.ones(2, 2))

    part = Part()
    decay, keep = decay_groups(part, 0.1)
    assert [id(p) for p in decay["params"]] == [id(part.weight)]
    assert [id(p) for p in keep["params"]] == [id(part.delta)]


def test_schedule_rises_linearly_and_falls_by_half_a_cosine():
    factor = warmup_cosine(total_steps=110, warmup_steps=9, min_ratio=0.1)
    assert [factor(s) for s in (0, 4, 8)] == pytest.approx([0.1, 0.5, 0.9])
    assert factor(9) == pytest.approx(1.0)
    middle = 9 + (110 - 9) / 2
    assert factor(int(middle)) == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (int(middle) - 9) / 101)))
    assert factor(110) == pytest.approx(0.1)
    assert factor(500) == pytest.approx(0.1)


def test_first_step_of_adamw_is_the_learning_rate():
    layer = nn.Linear(3, 3, bias=False)
    optimizer = adamw(layer, learning_rate=0.01, betas=(0.9, 0.95), weight_decay=0.5)
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.full((3, 3), 2.0)
    optimizer.step()
    # Adam's first step is lr x sign(gradient); decoupled decay first shrinks by lr x decay
    torch.testing.assert_close(layer.weight.detach(), before * (1 - 0.01 * 0.5) - 0.01)
