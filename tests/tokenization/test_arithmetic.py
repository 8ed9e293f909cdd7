"""Single problems, against values worked by hand and against a carry-by-carry count."""

import itertools

import pytest
from lmzoo.errors import ArgumentError
from lmzoo.tokenization.arithmetic import KINDS, addition, comparison, magnitude, rounding, subtraction


def carries_by_hand(a: int, b: int) -> int:
    carry = carries = 0
    while a or b or carry:
        carry = (a % 10 + b % 10 + carry) // 10
        carries += carry
        a, b = a // 10, b // 10
    return carries


@pytest.mark.parametrize(
    ("problem", "text", "digits", "carries", "kind"),
    [
        (addition(123, 4567), "123 + 4567 = 4690\n", 4, 1, "carry"),
        (addition(11, 22), "11 + 22 = 33\n", 2, 0, "no carry"),
        (addition(999, 1), "999 + 1 = 1000\n", 3, 3, "carry, longer answer"),
        (subtraction(1000, 1), "1000 - 1 = 999\n", 4, 3, "borrow"),
        (subtraction(45, 45), "45 - 45 = 0\n", 2, 0, "no borrow"),
        (comparison("9.9", "9.11"), "9.9 ? 9.11 = >\n", 1, 0, "longer fraction smaller"),
        (comparison("9.11", "9.9"), "9.11 ? 9.9 = <\n", 1, 0, "longer fraction smaller"),
        (comparison("9.1", "9.11"), "9.1 ? 9.11 = <\n", 1, 0, "longer fraction larger"),
        (comparison("12", "9"), "12 ? 9 = >\n", 2, 0, "integers"),
        (rounding(4567, 100), "round 4567 to 100 = 4600\n", 4, 0, "up"),
        (rounding(4547, 100), "round 4547 to 100 = 4500\n", 4, 0, "down"),
        (rounding(450, 100), "round 450 to 100 = 500\n", 3, 0, "up"),
        (rounding(996, 10), "round 996 to 10 = 1000\n", 3, 2, "up, carry"),
        (magnitude(4567), "magnitude 4567 = 1000\n", 4, 0, "any"),
        (magnitude(1), "magnitude 1 = 1\n", 1, 0, "any"),
    ],
)
def test_problems_worked_by_hand(problem, text, digits, carries, kind):
    assert problem.text == text
    assert (problem.digits, problem.carries, problem.kind) == (digits, carries, kind)
    assert kind in KINDS[problem.operation]


def test_carries_and_borrows_are_those_of_the_written_method():
    for a, b in itertools.product(range(0, 1200, 7), range(0, 1200, 11)):
        one = addition(a, b)
        assert one.carries == carries_by_hand(a, b)
        assert (one.kind == "no carry") == (one.carries == 0)
        assert one.kind.endswith("longer answer") == (len(str(a + b)) > max(len(str(a)), len(str(b))))
        high, low = max(a, b), min(a, b)
        borrows = sum(high % 10**k < low % 10**k for k in range(1, 5))
        assert subtraction(high, low).carries == borrows


def test_interchangeable_operands_are_one_problem_and_others_are_not():
    assert addition(3, 14).key == addition(14, 3).key
    assert comparison("1.5", "1.25").key == comparison("1.25", "1.5").key
    keys = [
        p.key for p in (addition(3, 14), subtraction(14, 3), comparison("3", "14"), rounding(14, 10), magnitude(14))
    ]
    assert len(set(keys)) == 5
    assert addition(31, 4).key != addition(3, 14).key


def test_what_has_no_answer_of_its_kind_is_refused():
    with pytest.raises(ArgumentError, match="a: expected at least b = 5, got 3"):
        subtraction(3, 5)
    with pytest.raises(ArgumentError, match=r"right: expected a value other than 1\.5"):
        comparison("1.5", "1.50")
