"""Which samples a step takes."""

import hashlib

import numpy as np
import pytest
from lmzoo.errors import ArgumentError
from lmzoo.train.data.windows import EvaluationBatchSampler, OrderedBatchSampler, SampleOrder, window_shift


def epoch_of(order: SampleOrder, epoch: int) -> np.ndarray:
    first = epoch * order.steps_per_epoch
    return np.concatenate([order.batch(first + step) for step in range(order.steps_per_epoch)])


@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_every_sample_once_an_epoch(epoch):
    order = SampleOrder(5, samples=60, batch_size=4)
    assert order.steps_per_epoch == 15
    assert sorted(epoch_of(order, epoch)) == list(range(60))


def test_left_over_samples_are_others_in_the_next_epoch():
    order = SampleOrder(5, samples=63, batch_size=4)
    left_over = [set(range(63)) - set(epoch_of(order, epoch).tolist()) for epoch in range(4)]
    assert [len(s) for s in left_over] == [3] * 4
    assert len(set().union(*left_over)) > 3


def test_pure_function_of_seed_and_step():
    a, b = SampleOrder(1, 100, 8), SampleOrder(1, 100, 8)
    backwards = {step: b.batch(step) for step in reversed(range(40))}
    for step in range(40):
        np.testing.assert_array_equal(a.batch(step), backwards[step])


def test_seeds_and_epochs_differ():
    orders = [epoch_of(SampleOrder(seed, 100, 10), epoch).tobytes() for seed in (0, 1, 2) for epoch in (0, 1, 2)]
    assert len(set(orders)) == 9


def test_the_order_is_the_same_for_ever():
    # A change here means that no earlier run can be resumed or repeated.
    assert SampleOrder(0, 8, 8).batch(0).tolist() == [0, 3, 7, 5, 1, 2, 6, 4]
    digest = hashlib.sha256(epoch_of(SampleOrder(7, 1000, 10), 3).astype("<i8").tobytes()).hexdigest()
    assert digest[:16] == "158cd891ddfebf4b"


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_ranks_part_the_step_of_a_single_device(world_size):
    one = SampleOrder(3, samples=100, batch_size=12)
    ranks = [SampleOrder(3, 100, 12 // world_size, world_size, rank) for rank in range(world_size)]
    for step in (0, 5, 8, 20):
        parts = [order.batch(step) for order in ranks]
        np.testing.assert_array_equal(np.concatenate(parts), one.batch(step))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 10, 11), r"batch_size: expected at most 10 .* got 11"),
        ((0, 10, 4, 3), r"batch_size: expected at most 10 .* got 12"),
        ((0, 0, 1), "batch_size: expected at most 0"),
        ((-1, 10, 1), "seed: expected an integer of at least 0"),
        ((0, 10, 0), "batch_size: expected an integer of at least 1"),
        ((0, 10, 1, 2, 2), "rank: expected from 0 to 1, got 2"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        SampleOrder(*arguments)


def test_shift():
    assert window_shift(9, 0, 64) == 0
    shifts = [window_shift(9, epoch, 64) for epoch in range(1, 200)]
    assert min(shifts) >= 0
    assert max(shifts) < 64
    assert len(set(shifts)) > 40
    assert shifts == [window_shift(9, epoch, 64) for epoch in range(1, 200)]
    assert [window_shift(s, 1, 1000) for s in range(3)] == [367, 20, 971]


def test_sampler_goes_on_in_mid_epoch():
    order = SampleOrder(1, samples=20, batch_size=4)
    whole = list(OrderedBatchSampler(order, lambda: (2, 0)))
    assert len(whole) == 5
    assert whole[1] == [(2, int(i)) for i in order.batch(11)]
    resumed = OrderedBatchSampler(order, lambda: (2, 3))
    assert list(resumed) == whole[3:]
    assert len(resumed) == 5
    assert list(OrderedBatchSampler(order, lambda: (2, 5))) == []  # where an iteration ended, it stays ended


def test_position_is_asked_for_at_each_iteration():
    positions = iter([(0, 0), (1, 0), (2, 4)])
    sampler = OrderedBatchSampler(SampleOrder(1, 20, 4), lambda: next(positions))
    assert [[batch[0][0] for batch in sampler] for _ in range(3)] == [[0] * 5, [1] * 5, [2]]


@pytest.mark.parametrize("length", [3, 5, 12])
def test_iterations_of_another_length_take_the_same_steps(length):
    order = SampleOrder(1, samples=20, batch_size=4)
    epochs = [batch for epoch in range(12) for batch in OrderedBatchSampler(order, lambda e=epoch: (e, 0))]
    iterations = [b for i in range(60 // length) for b in OrderedBatchSampler(order, lambda i=i: (i, 0), length)]
    assert iterations == epochs


@pytest.mark.parametrize(
    ("windows", "batch_size", "world_size"), [(10, 4, 1), (10, 4, 2), (7, 2, 3), (1, 8, 4), (12, 3, 4)]
)
def test_evaluation_sampler_takes_every_window_once(windows, batch_size, world_size):
    samplers = [EvaluationBatchSampler(windows, batch_size, world_size, rank) for rank in range(world_size)]
    batches = [list(sampler) for sampler in samplers]
    taken = sorted(i for rank in batches for batch in rank for i in batch if i < windows)
    assert taken == list(range(windows))
    assert len({tuple(len(batch) for batch in rank) for rank in batches}) == 1  # no rank waits for another
    assert [len(sampler) for sampler in samplers] == [len(rank) for rank in batches]
