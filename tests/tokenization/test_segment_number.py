"""The readable specification: the paper's examples, the faults of its converter, and what lies out of range."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lmzoo.errors import ArgumentError
from lmzoo.tokenization import NUMBER_SCHEMES, segment_number
from lmzoo.tokenization.schemes import number_scheme
from lmzoo.tokenization.segment import chains, segment_chain


def shown(pieces):
    return " ".join(text + marker for text, marker in pieces)


def pieces_of(text, scheme="triadic"):
    """Every chain of a text, cut."""
    return [shown(segment_chain(chain, number_scheme(scheme), 3, False)) for chain in chains(text)]


@pytest.mark.parametrize(
    ("digits", "expected"),
    [
        ("12345678", "12m 345k 678"),
        ("1000000", "1m 000k 000"),
        ("100400", "100k 400"),
        ("123456789012345", "123t 456b 789m 012k 345"),
        ("1.12345678", "1 . 123p 456pp 78ppp"),
        ("999999999999999999", "999q 999t 999b 999m 999k 999"),
        ("0.123456789012345", "0 . 123p 456pp 789ppp 012pppp 345ppppp"),
        ("0.1", "0 . 1p"),
        ("0.10", "0 . 10p"),
        ("0.100", "0 . 100p"),
        ("007", "007"),
        ("0007", "0k 007"),
        ("1234.5", "1k 234 . 5p"),
    ],
)
def test_triads_of_the_paper_without_padding(digits, expected):
    assert shown(segment_number(digits, "triadic")) == expected
    assert segment_number(digits, "triadic_suffix") == segment_number(digits, "triadic")
    assert [text for text, _ in segment_number(digits, "r2l3")] == [
        text for text, _ in segment_number(digits, "triadic")
    ]


def test_padding_is_the_papers():
    assert shown(segment_number("1.12345678", "triadic", pad_fraction=True)) == "1 . 123p 456pp 780ppp"
    assert shown(segment_number("0.1", "triadic", pad_fraction=True)) == "0 . 100p"
    assert shown(segment_number("12", "triadic", pad_fraction=True)) == "12"


def test_other_schemes():
    assert segment_number("12345.6789", "bpe") == [("12345", ""), (".", ""), ("6789", "")]
    assert shown(segment_number("12345.6789", "digits")) == "1 2 3 4 5 . 6 7 8 9"
    assert shown(segment_number("12345.6789", "l2r3")) == "123 45 . 678 9"
    assert shown(segment_number("12345.6789", "r2l3")) == "12 345 . 678 9"


@pytest.mark.parametrize(
    ("group", "expected"),
    [(2, "1e4 23e2 45 . 67e-2 8e-4"), (1, "1e4 2e3 3e2 4e1 5 . 6e-1 7e-2 8e-3")],
)
def test_other_group_sizes_name_the_power_of_ten(group, expected):
    assert shown(segment_number("12345.678", "triadic", group=group)) == expected


@pytest.mark.parametrize(("group", "before", "after"), [(3, 18, 15), (2, 18, 16), (1, 16, 15)])
def test_digits_beyond_the_markers_keep_their_groups_and_carry_none(group, before, after):
    pieces = segment_number("1" * (before + 7) + "." + "2" * (after + 7), "triadic", group=group)
    point = pieces.index((".", ""))
    integer, fraction = pieces[:point], pieces[point + 1 :]
    assert sum(len(text) for text, marker in integer if marker) == before - group
    assert sum(len(text) for text, marker in fraction if marker) == after
    n_beyond = -(-7 // group)
    assert all(marker == "" for _, marker in [*integer[:n_beyond], *fraction[-n_beyond:], integer[-1]])
    assert all(marker for _, marker in [*integer[n_beyond:-1], *fraction[:-n_beyond]])


def test_numbers_are_never_joined_and_what_is_no_number_has_no_magnitude():
    assert pieces_of("1 2 3 4") == ["1", "2", "3", "4"]
    assert pieces_of("1,234,567.89") == ["1", "234", "567 . 89p"]
    assert pieces_of("2015-03-01") == ["2k 015", "03", "01"]
    assert pieces_of("192.168.0.1000 1.2.3456") == ["192 . 168 . 0 . 100 0", "1 . 2 . 345 6"]
    assert pieces_of("v1.2345 x12345 _1234 1e1234") == ["1 . 234 5", "12 345", "1 234", "1", "1 234"]
    assert pieces_of(".12345 ..1234") == ["123 45", "123 4"]
    assert pieces_of("-12345 $1234 5000km 1.5e-1000.") == ["12k 345", "1k 234", "5k 000", "1 . 5p", "1k 000"]
    assert pieces_of("٣٤٥٦ １２３４") == []
    assert pieces_of("1234. And") == ["1k 234"]


@given(st.from_regex(r"[0-9]{1,40}(\.[0-9]{1,40})?", fullmatch=True))
def test_texts_join_to_the_number(digits):
    for scheme in NUMBER_SCHEMES:
        for group in (1, 2, 3) if number_scheme(scheme).takes_group else (3,):
            pieces = segment_number(digits, scheme, group=group)
            assert "".join(text for text, _ in pieces) == digits
            if scheme != "bpe":
                assert all(1 <= len(text) <= group for text, _ in pieces)


@given(st.from_regex(r"[0-9]{1,18}(\.[0-9]{1,15})?", fullmatch=True))
def test_the_value_is_the_sum_of_triads_times_their_weights(digits):
    weights = {"": 0, **{name: 3 * i for i, name in enumerate("kmbtq", start=1)}}
    weights |= {"p" * j: -3 * j for j in range(1, 6)}
    scaled = 0  # in units of 10^-15
    for text, marker in segment_number(digits, "triadic", pad_fraction=True):
        if text != ".":
            scaled += int(text) * 10 ** (weights[marker] + 15)
    integer, _, fraction = digits.partition(".")
    assert scaled == int(integer + fraction.ljust(15, "0"))


@pytest.mark.parametrize("digits", ["", "1,000", "-1", "1.", ".5", "1.2.3", "１２", "1 ", "1\n", 12])
def test_what_is_not_a_number_is_refused(digits):
    with pytest.raises(ArgumentError, match="digits: expected ASCII digits"):
        segment_number(digits, "triadic")


def test_options_are_checked():
    with pytest.raises(ArgumentError, match=r"numbers: expected one of .*triadic"):
        segment_number("1", "triadik")
    with pytest.raises(ArgumentError, match="group: expected 1, 2 or 3 digits, got 4"):
        segment_number("1", "l2r3", group=4)
    with pytest.raises(ArgumentError, match="pad_fraction: expected false"):
        segment_number("1", "r2l3", pad_fraction=True)
