"""Which groups of digits get an entry, what happens to the others, and how the entries are read off again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lmzoo.errors import ArgumentError
from lmzoo.tokenization import NUMBER_SCHEMES, train_tokenizer, triad_structure
from lmzoo.tokenization.groups import share_out

SUMS = [f"{a} + {b} = {a + b}\n" for a in range(0, 3000, 37) for b in range(5, 90000, 4999)]
K, M, PP, LAST = "ĎďĔė"  # markers k, m, pp and ppppp as a byte-level vocabulary shows them


@given(*[st.integers(0, 500)] * 4, st.integers(0, 500))
def test_shares_are_whole_and_leave_nothing_over_that_someone_wants(free, text, bare, marked, met):
    met = min(met, marked)
    shares = share_out(free, text, bare, marked, met)
    assert all(0 <= share <= there for share, there in zip(shares, (text, bare, marked), strict=True))
    assert sum(shares) == min(free, text + bare + marked)
    if bare >= free:
        assert shares.bare >= free // 2  # the groups come to their half
    assert shares.text >= min(text, free - free // 2 - (free - free // 2 + 1) // 2)


def test_a_group_is_one_token_where_there_is_room():
    tokenizer = train_tokenizer(SUMS, 1600, numbers="triadic")
    assert tokenizer.tokenize("1036 37") == [f"1{K}", "036", "Ġ", "37"]
    bare = {f"{i:0{length}}" for length in (2, 3) for i in range(10**length)}
    assert bare <= set(tokenizer.get_vocab())


def test_a_marked_group_without_an_entry_is_its_bare_group_and_its_marker():
    tokenizer = train_tokenizer(SUMS, 1450, numbers="triadic")
    assert tokenizer.tokenize("12345678") == ["12", M, "345", K, "678"]
    assert tokenizer.tokenize("0.12345") == ["0", ".", "123", "ē", "45", PP]


@pytest.mark.parametrize("numbers", ["triadic", "triadic_suffix", "r2l3", "l2r3"])
@pytest.mark.parametrize("vocab_size", [267, 280, 350, 400, 1000])
def test_small_vocabularies_are_full_and_exact(numbers, vocab_size):
    tokenizer = train_tokenizer(SUMS, vocab_size, numbers=numbers)
    assert len(tokenizer) == vocab_size
    assert sorted(tokenizer.get_vocab().values()) == list(range(vocab_size))
    for text in (*SUMS[:50], "98765432109876543210.123456789", "\x0e\x17", "0.10 0.1"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_all_groups():
    tokenizer = train_tokenizer(SUMS, 12_468, numbers="triadic", all_groups=True)
    assert len(tokenizer.tokenize("123456789012345678.123456789012345")) == 12
    with pytest.raises(ArgumentError, match=r"vocab_size: expected an integer of at least 12467 .*12,200 groups"):
        train_tokenizer(SUMS, 12_466, numbers="triadic", all_groups=True)
    with pytest.raises(ArgumentError, match="all_groups: expected false"):
        train_tokenizer(SUMS, 12_468, numbers="digits", all_groups=True)


def test_text_is_split_alike_whatever_the_scheme(texts):
    tokenizers = [train_tokenizer(texts, 330, numbers=numbers, group=1) for numbers in ("r2l3", "l2r3")]
    tokenizers.append(train_tokenizer(texts, 330, numbers="digits"))
    assert len({str(tokenizer.tokenize("The quick 123 dogs  jump 4.5")) for tokenizer in tokenizers}) == 1


def test_merges_hold_no_digits_but_those_of_groups(texts):
    for numbers in NUMBER_SCHEMES[1:]:
        for token in train_tokenizer(
            [*texts, "abc123 " * 20], 600 if numbers[1] in "2r" else 320, numbers=numbers
        ).vocab:
            assert token.isdigit() or not any(c in "0123456789" for c in token) or numbers == "triadic"


def test_the_same_texts_give_the_same_tokenizer():
    first, second = (train_tokenizer(iter(SUMS), 700, numbers="triadic") for _ in range(2))
    assert first.backend_tokenizer.to_str() == second.backend_tokenizer.to_str()


def test_too_large_a_vocabulary_names_the_size_that_works():
    with pytest.raises(ArgumentError, match="vocab_size: expected at most") as caught:
        train_tokenizer(["abc abc 12"], 20_000, numbers="triadic")
    largest = int(caught.value.expected.split()[2])
    assert len(train_tokenizer(["abc abc 12"], largest, numbers="triadic")) == largest


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"numbers": "digits", "group": 2}, "group: expected 3, its default"),
        ({"numbers": "l2r3", "group": 4}, "group: expected 1, 2 or 3 digits, got 4"),
        ({"numbers": "l2r3", "group": True}, "group: expected 1, 2 or 3 digits"),
        ({"numbers": "bpe", "pad_fraction": True}, "pad_fraction: expected false"),
        ({"numbers": "triadic", "vocab_size": 266}, "vocab_size: expected an integer of at least 267"),
        ({"numbers": "triadic", "group": 1, "vocab_size": 286}, "vocab_size: expected an integer of at least 287"),
    ],
)
def test_options_are_refused_before_texts_are_read(options, message):
    def unread():
        pytest.fail("read the texts")
        yield ""

    with pytest.raises(ArgumentError, match=message):
        train_tokenizer(unread(), options.pop("vocab_size", 600), **options)


def test_structure_of_a_vocabulary():
    tokenizer = train_tokenizer(SUMS, 1600, numbers="triadic")
    structure = triad_structure(tokenizer)
    assert all(part.dtype == np.int64 and part.shape == structure.token_ids.shape for part in structure)
    rows = {int(token): (int(triad), int(size)) for token, triad, size in zip(*structure, strict=True)}
    assert len(rows) == structure.token_ids.size
    place = {token: rows[tokenizer.convert_tokens_to_ids(token)] for token in ("1", f"1{K}", "036", "36", f"36{K}")}
    assert place["1"] == (1, 0)
    assert place[f"1{K}"] == (1, 1)
    assert place["036"] == (10 + 100 + 36, 0)
    assert (place["36"], place[f"36{K}"]) == ((10 + 36, 0), (10 + 36, 1))
    assert len(set(rows.values())) == len(rows)
    assert tokenizer.convert_tokens_to_ids(K) not in rows


def test_structure_of_other_tokenizers(texts, tokenizer):
    suffix = triad_structure(train_tokenizer(texts, 1390, numbers="triadic_suffix", all_groups=True))
    assert suffix.token_ids.size == 1110
    assert not suffix.magnitude_index.any()
    assert triad_structure(tokenizer).token_ids.size >= 10
    with pytest.raises(ArgumentError, match="tokenizer: expected a fast tokenizer"):
        triad_structure(object())
