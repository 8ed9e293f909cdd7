"""WikiText's spacing undone."""

import pytest
from lmzoo.train.data.wikitext import detokenize_wikitext


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (" a role @-@ playing game ", "a role-playing game"),
        (" 1 @,@ 000 @,@ 000 people ", "1,000,000 people"),
        (" 3 @.@ 5 million ", "3.5 million"),
        (" up @-@ to @-@ date ", "up-to-date"),
        (" Yes , no ; maybe : who ? me ! end . ", "Yes, no; maybe: who? me! end."),
        (" a ( b [ c ] ) d . ", "a (b [c]) d."),
        (' he said " hello there " . ', 'he said "hello there".'),
        (' " One " and " Two " ', '"One" and "Two"'),
        (' ( " quoted " ) ', '("quoted")'),
        (" Jane 's dog didn 't , they 've , we 'll ", "Jane's dog didn't, they've, we'll"),
        (" the players ' rights ", "the players' rights"),
        (" from 2000 – 2005 , 1 / 2 ", "from 2000–2005, 1/2"),
        (" it – as said – stays ", "it – as said – stays"),
        (" $ 5 and £ 7 , 10 % ", "$5 and £7, 10%"),
        (" <unk> , the <unk> . ", "<unk>, the <unk>."),
        (" = = Section = = ", "= = Section = ="),
        (' one unpaired " quote ', 'one unpaired " quote'),
        ("", ""),
    ],
)
def test_lines(tokens, text):
    assert detokenize_wikitext(tokens) == text


def test_lines_stay_lines():
    assert detokenize_wikitext(" \n = Title = \n \n A line , here . \n") == "\n= Title =\n\nA line, here.\n"


def test_only_newlines_end_lines():
    assert detokenize_wikitext(" a\u2028b , c \n") == "a\u2028b, c\n"
