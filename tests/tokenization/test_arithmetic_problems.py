"""Which problems are drawn: determinism, splits that share nothing, shares and strata."""

import subprocess
import sys
from collections import Counter

import pytest
from lmzoo.errors import ArgumentError
from lmzoo.tokenization.arithmetic import KINDS, OPERATIONS
from lmzoo.tokenization.arithmetic_problems import ArithmeticProblems, split_of_problem

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def drawn() -> dict:
    problems = ArithmeticProblems(3, 4)
    return {split: [problems.problem(split, i) for i in range(4000)] for split in SPLITS}


def test_a_problem_is_a_pure_function_of_seed_split_and_index(drawn):
    again = ArithmeticProblems(3, 4)
    assert [again.problem("test", i) for i in (3999, 7, 7)] == [drawn["test"][i] for i in (3999, 7, 7)]
    assert ArithmeticProblems(4, 4).problem("test", 7) != drawn["test"][7]


def test_another_process_draws_the_same(drawn):
    program = (
        "from lmzoo.tokenization.arithmetic_problems import ArithmeticProblems as A\n"
        "print([A(3, 4).problem('train', i).text for i in range(20)])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([problem.text for problem in drawn["train"][:20]])


def test_the_first_draws_of_a_seed_never_change():
    # guards every cached text and published figure: a change here needs a new GENERATOR_VERSION
    assert [ArithmeticProblems(0, 4).problem("train", i).text for i in range(4)] == [
        "76 + 2 = 78\n",
        "round 2115 to 1000 = 2000\n",
        "941 + 7 = 948\n",
        "magnitude 327 = 100\n",
    ]


def test_no_problem_stands_in_two_splits_whatever_seed_and_lengths(drawn):
    keys = {split: {problem.key for problem in drawn[split]} for split in SPLITS}
    short = ArithmeticProblems(9, 2, {"addition": 1.0})
    for split in SPLITS:  # two digits, drawn over and over: nearly every problem there is
        keys[split] |= {short.problem(split, i).key for i in range(5000)}
    for kind in KINDS["addition"]:
        keys["test"] |= {problem.key for problem in short.stratum("test", "addition", 2, kind, 1000)}
    assert not keys["train"] & keys["test"]
    assert not keys["train"] & keys["validation"]
    assert not keys["validation"] & keys["test"]
    assert len(keys["train"]) > 4000


def test_operations_are_drawn_by_their_weights_and_lengths_evenly(drawn):
    counts = Counter(problem.operation for problem in drawn["train"])
    assert counts["addition"] / 4000 == pytest.approx(0.45, abs=0.03)
    assert counts["magnitude"] / 4000 == pytest.approx(0.10, abs=0.02)
    lengths = Counter(problem.digits for problem in drawn["train"] if problem.operation == "addition")
    total = sum(lengths.values())
    assert [lengths[n] / total for n in (1, 2, 3, 4)] == pytest.approx([1 / 16, 3 / 16, 5 / 16, 7 / 16], abs=0.04)
    only = ArithmeticProblems(0, 3, {"subtraction": 2.0, "addition": 0.0})
    assert {only.problem("train", i).operation for i in range(200)} == {"subtraction"}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_stratum_holds_different_problems_of_its_kind_from_its_split(operation):
    problems = ArithmeticProblems(0, 4)
    for kind in KINDS[operation]:
        found = problems.stratum("test", operation, 5, kind, 30)
        assert len(found) == len({problem.key for problem in found}) == 30
        assert {(p.operation, p.digits, p.kind, split_of_problem(p)) for p in found} == {(operation, 5, kind, "test")}
        if operation in ("addition", "subtraction"):
            assert all({len(n) for n in p.prompt.split() if n.isdigit()} == {5} for p in found)
        assert problems.stratum("test", operation, 5, kind, 10) == found[:10]


def test_a_small_stratum_gives_all_it_has():
    found = ArithmeticProblems(0, 4).stratum("test", "addition", 1, "carry, longer answer", 100)
    every = {f"+ {a} {b}" for a in range(10) for b in range(a, 10) if a + b > 9}
    assert 0 < len(found) < len(every)
    others = [ArithmeticProblems(0, 4).stratum(s, "addition", 1, "carry, longer answer", 100) for s in SPLITS[:2]]
    assert {problem.key for part in (found, *others) for problem in part} == every


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed"),
        ({"max_digits": 1}, "max_digits"),
        ({"max_digits": 19}, "max_digits"),
        ({"mix": {"adition": 1.0}}, "mix: expected operations such as addition"),
        ({"mix": {"addition": -1.0}}, "mix: expected weights of at least 0"),
        ({"mix": {"addition": 0.0}}, "mix: expected a weight above 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        ArithmeticProblems(**arguments)
