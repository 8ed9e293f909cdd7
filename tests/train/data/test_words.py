"""Words and bytes, whole and by position."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lmzoo.train.data.corpus import count_words
from lmzoo.train.data.encode import codepoints, cumulative_bytes, cumulative_words

texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(" \n\t\r\x0b\x0c\u00a0\u2028"), max_size=40)


@pytest.mark.parametrize(
    ("text", "rule", "words"),
    [
        ("", "whitespace", 0),
        ("one two", "whitespace", 2),
        ("  one\t\ntwo  ", "whitespace", 2),
        ("no\u00a0break one\u2028word", "whitespace", 2),
        (" = Title = \n \n a b . \n", "whitespace+eol", 9),
        ("\n\n", "whitespace+eol", 2),
        ("\n\n", "whitespace", 0),
    ],
)
def test_counts(text, rule, words):
    assert count_words(text, rule) == words


@given(text=texts, rule=st.sampled_from(["whitespace", "whitespace+eol"]))
def test_cumulative_words_end_at_the_count(text, rule):
    assert cumulative_words(codepoints(text), rule)[-1] == count_words(text, rule)


@given(text=texts)
def test_cumulative_bytes_are_those_of_each_prefix(text):
    expected = [len(text[:i].encode()) for i in range(len(text) + 1)]
    np.testing.assert_array_equal(cumulative_bytes(codepoints(text)), expected)


def test_a_word_counts_at_its_first_character():
    np.testing.assert_array_equal(cumulative_words(codepoints("ab c\n"), "whitespace+eol"), [0, 1, 1, 1, 2, 3])
