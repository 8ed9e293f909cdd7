"""Where documents begin."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lmzoo.train.data.files import is_marked, marked_articles, wikitext_articles

TWO = [" \n", " = One = \n", " \n", " text . \n", " \n", " = = Part = = \n", " \n", " more \n", " \n"]
TWO += [" = Two = \n", " \n", " last \n"]


def test_articles_begin_with_the_blank_line_before_their_title():
    assert list(wikitext_articles(TWO)) == ["".join(TWO[:8]), "".join(TWO[8:])]


@pytest.mark.parametrize(
    "lines",
    [
        [" \n", " = A = \n", " \n", " x \n", " = y and C = \n", " \n", " z \n"],  # no blank line before
        [" \n", " = A = \n", " \n", " x \n", " \n", " = y and C = \n", " z \n"],  # none after
        [" \n", " = A = \n", " \n", " x \n", " \n", " = = S = = \n", " \n"],  # a section
        [" \n", " = A = \n", " \n", " x \n", " \n", " y = z = \n", " \n"],  # another form
    ],
)
def test_what_only_looks_like_a_title_is_none(lines):
    assert list(wikitext_articles(lines)) == ["".join(lines)]


def test_text_before_the_first_title_and_a_title_at_the_start():
    assert list(wikitext_articles([" pre \n", " \n", " = A = \n", " \n"])) == [" pre \n", " \n = A = \n \n"]
    assert list(wikitext_articles([" = A = \n", " \n", " x \n"])) == [" = A = \n \n x \n"]
    assert list(wikitext_articles([])) == []


def test_empty_lines_are_blank_too():
    assert list(wikitext_articles(["a\n", "\n", " = B = \n", "\n", "b"])) == ["a\n", "\n = B = \n\nb"]


@given(st.lists(st.sampled_from([" \n", "\n", " = A = \n", " = = B = = \n", " text \n", " = C"]), max_size=30))
def test_nothing_is_lost(lines):
    assert "".join(wikitext_articles(lines)) == "".join(lines)


def test_marked_articles():
    lines = ['<doc id="12" url="u" title="A">\n', "A\n", "\n", "Text <doc> here.\n", "\n", "</doc>\n"]
    lines += ['<doc id="13" url="u" title="B">\n', "\n", "</doc>\n", '<doc id="14" url="u">\n', "C\n", "</doc>\n"]
    assert is_marked(lines[0])
    assert not is_marked("A <doc id=1>\n")
    assert list(marked_articles(lines)) == ["A\n\nText <doc> here.\n", "C\n"]


def test_text_outside_the_markers_is_kept():
    assert list(marked_articles(["<doc id=1>\n", "A\n", "</doc>\n", "between\n"])) == ["A\n", "between\n"]
