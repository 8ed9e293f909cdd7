"""A run that has gone wrong is stopped with the step and the layer named."""

import math

import pytest
import torch
from lmzoo.models import Decoder
from lmzoo.train.fit.optimization import (
    DivergenceGuard,
    TrainingStopped,
    check_gradients,
    first_non_finite,
    largest_gradient,
)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Decoder(20, 8, 2, 2)


@pytest.fixture
def batch():
    return {"input_ids": torch.randint(20, (2, 6), generator=torch.Generator().manual_seed(0))}


def test_weights_that_are_not_finite_are_named(model, batch):
    model.blocks[1].attention.output.weight.data[0, 0] = math.nan
    assert first_non_finite(model, batch) == ("blocks.1.attention.output.weight", "its weights are not finite")
    with pytest.raises(TrainingStopped, match=r"stopped at step 7.*blocks\.1\.attention\.output\.weight") as error:
        DivergenceGuard(20).check(math.nan, 7, model, batch)
    assert error.value.step == 7


def test_the_first_layer_whose_output_overflows_is_named(model, batch):
    model.blocks[0].feed_forward_norm.weight.data.fill_(1e38)
    model.blocks[1].attention_norm.weight.data.fill_(1e38)
    name, what = first_non_finite(model, batch)
    assert name.startswith("blocks.0.feed_forward"), name
    assert "output" in what


def test_gradients_that_are_not_finite_are_named(model, batch):
    model.nll(batch["input_ids"]).mean().backward()
    check_gradients(1.0, 3, model)
    model.blocks[0].attention.qkv.weight.grad[0, 0] = math.inf
    with pytest.raises(TrainingStopped, match=r"step 3.*blocks\.0\.attention\.qkv\.weight"):
        check_gradients(math.inf, 3, model)


def test_divergence_needs_patience_and_a_loss_worse_than_guessing(model, batch):
    guard = DivergenceGuard(20, patience=5)
    for step in range(50):
        guard.check(math.log(20) * 1.4, step, model, batch)
    model.nll(batch["input_ids"]).mean().backward()
    guard.mean = math.log(20) * 1.49
    with pytest.raises(TrainingStopped, match="diverged") as error:
        guard.check(math.log(20) * 2, 51, model, batch)
    assert error.value.layer == largest_gradient(model)[0]
    guard = DivergenceGuard(20, patience=5)
    guard.check(100.0, 1, model, batch)  # one bad step at the start is no divergence


def test_state_survives_a_checkpoint(model, batch):
    one, other = DivergenceGuard(20), DivergenceGuard(20)
    for step in range(9):
        one.check(2.0 + step, step, model, batch)
    other.load_state_dict(one.state_dict())
    assert (other.mean, other.seen) == (one.mean, one.seen)
