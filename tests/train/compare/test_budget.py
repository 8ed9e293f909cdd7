"""Thread budgets, what runs need, and how long the rest will take."""

import math
import sys

import pytest
from lmzoo.errors import ArgumentError
from lmzoo.train.compare.command import chosen_executor
from lmzoo.train.compare.display import time_left
from lmzoo.train.compare.executors import Needs, default_threads, needs_of, thread_environment
from lmzoo.train.runs.environment import granted


@pytest.mark.parametrize(
    ("jobs", "given", "threads"),
    [(1, None, 8), (3, None, 2), (9, None, 1), (2, "1", 1), (2, "x", 4)],
)
def test_threads_are_the_cores_divided_by_the_jobs(monkeypatch, jobs, given, threads):
    monkeypatch.setattr("lmzoo.train.compare.executors.cores", lambda: 8)
    assert default_threads(jobs, {} if given is None else {"OMP_NUM_THREADS": given}) == threads


def test_a_budget_comes_back_out_of_the_environment(monkeypatch):
    monkeypatch.delenv("LMZOO_THREADS", raising=False)
    monkeypatch.delenv("LMZOO_JOBS", raising=False)
    assert granted() == {"threads": None, "jobs": None}
    for name, value in thread_environment(3, 2).items():
        monkeypatch.setenv(name, value)
    assert granted() == {"threads": 3, "jobs": 2}


@pytest.mark.parametrize(
    ("trainer", "needs"),
    [
        ({}, Needs(1, None)),
        ({"accelerator": "cpu", "devices": "auto"}, Needs(1, 0)),
        ({"accelerator": "cpu", "devices": 2}, Needs(2, 0)),
        ({"accelerator": "gpu", "devices": [0, 3]}, Needs(2, 2)),
        ({"accelerator": "cuda", "devices": -1, "num_nodes": 2}, Needs(1, 1, 2)),
        ({"accelerator": "mps"}, Needs(1, 0)),
    ],
)
def test_needs_follow_from_the_trainers_keys(trainer, needs):
    assert needs_of({"trainer": trainer}) == needs


def test_a_gpu_is_taken_where_there_is_one_and_the_run_leaves_it_open():
    assert [Needs(2, None).gpus_of(there) for there in (0, 1, 4)] == [0, 1, 2]
    assert Needs(2, 2).gpus_of(0) == 2
    assert (Needs(2, 2).alone(), Needs(2, None).alone(), Needs(2, 0).alone()) == (Needs(1, 1), Needs(1, None), Needs())


def test_the_time_left_is_that_of_a_list_schedule():
    # slots free after 10 and 30 s; b (20 s by its own mean) goes to the first, then c (25 s, the mean of all) at 30 s
    done = {"a": [30.0], "b": [15.0, 25.0], "d": [30.0]}
    assert time_left([(5.0, 10.0), (5.0, 30.0)], ["b", "c"], done) == 30.0 + 25.0
    # nothing finished: runs that wait will take what those going on take, (5 + 10 + 5 + 30) / 2
    assert time_left([(5.0, 10.0), (5.0, 30.0)], ["b"], {}) == 35.0
    # a run that does not know takes what is usual
    assert time_left([(5.0, math.nan)], [], {"a": [30.0]}) == 25.0
    assert math.isnan(time_left([(5.0, math.nan), (1.0, 3.0)][:1], ["b"], {}))
    assert time_left([], [], {}) == 0.0


@pytest.mark.parametrize(
    ("words", "argument"), [({"jobs": 0}, "jobs"), ({"threads": 0}, "threads"), ({"name": "slurm"}, "executor")]
)
def test_wrong_execution_arguments_are_refused(words, argument):
    with pytest.raises(ArgumentError) as caught, chosen_executor(**words):
        pass
    assert caught.value.argument == argument


def test_a_missing_ray_is_named_with_the_extra_that_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ArgumentError, match=r"pip install 'lmzoo\[ray\]'"), chosen_executor("ray"):
        pass
