"""Every Unicode string comes back from its ids, and every character has its place."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lmzoo.tokenization import END_OF_TEXT

unicode_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
# Strings that are near the special token, white space of all kinds and digits come up too rarely by chance.
awkward = st.lists(
    st.sampled_from(
        [END_OF_TEXT, "<|endoftext", "|>", " ", "  ", "\n", "\r\n", "\t", "\u00a0", "'s", "0", "1,000.5", "é"]
    ),
    max_size=12,
).map("".join)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\u0000",
        " leading and trailing ",
        "a\r\nb\rc\n\n\n",
        "👩\u200d👩\u200d👧\u200d👦 🇯🇵",
        "e\u0301 is not é",
        f"a {END_OF_TEXT} b{END_OF_TEXT}",
        "don 't stop . now !",
        "\ufeffbom \ufffd \U0010ffff",
        "12345678901234567890 007 0.10",
    ],
)
def test_given_strings_round_trip(tokenizer, text):
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


@settings(max_examples=150, deadline=None)
@given(text=unicode_text | awkward)
def test_any_string_round_trips(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


@settings(max_examples=150, deadline=None)
@given(text=unicode_text | awkward)
def test_offsets_cover_every_character_in_order(tokenizer, text):
    offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    end = 0
    for first, last in offsets:
        assert first <= end <= last  # no character is left out; one may be shared by several tokens
        end = last
    assert end == len(text)


def test_the_separator_never_comes_from_text(tokenizer):
    ids = tokenizer.encode(f"x{END_OF_TEXT}y")
    assert tokenizer.eos_token_id not in ids
    assert tokenizer.bos_token_id == tokenizer.eos_token_id == tokenizer.pad_token_id == 0


def test_no_space_is_added_in_front(tokenizer):
    assert tokenizer.convert_ids_to_tokens(tokenizer.encode("the"))[0][0] == "t"


def test_a_lone_surrogate_is_refused_not_replaced(tokenizer):
    with pytest.raises((TypeError, UnicodeEncodeError)):
        tokenizer.encode("\ud800")
