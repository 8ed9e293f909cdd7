"""What training gives, and which arguments it refuses."""

import json
import subprocess
import sys

import pytest
from lmzoo.errors import ArgumentError
from lmzoo.tokenization import NUMBER_SCHEMES, tokenizer_sha256, train_tokenizer
from transformers import AutoTokenizer


def test_training_is_deterministic(texts, tokenizer):
    again = train_tokenizer(iter(texts), 330)
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()


def test_size_and_ids(tokenizer):
    assert len(tokenizer) == 330
    assert sorted(tokenizer.get_vocab().values()) == list(range(330))


def test_a_smaller_vocabulary_is_the_beginning_of_a_larger_one(texts, tokenizer):
    small = json.loads(train_tokenizer(texts, 300).backend_tokenizer.to_str())["model"]["merges"]
    large = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    assert len(small) > 0
    assert large[: len(small)] == small


def test_257_entries_are_bytes_alone():
    tokenizer = train_tokenizer(["abc abc"], 257)
    assert len(tokenizer.encode("abc é")) == 6


def test_too_large_a_vocabulary_names_the_size_that_works():
    with pytest.raises(ArgumentError, match=r"vocab_size: expected at most 260 for this text, got 300"):
        train_tokenizer(["abc abc"], 300)
    assert len(train_tokenizer(["abc abc"], 260)) == 260


@pytest.mark.parametrize("vocab_size", [0, 256, -1, 300.0, True])
def test_vocab_size_out_of_range(vocab_size):
    with pytest.raises(ArgumentError, match="vocab_size: expected an integer of at least 257"):
        train_tokenizer(["abc"], vocab_size)


def test_unknown_scheme_names_the_known_ones():
    with pytest.raises(ArgumentError, match=r"numbers: expected one of .*bpe.*, got 'bpee'"):
        train_tokenizer(["abc"], 300, numbers="bpee")
    assert "bpe" in NUMBER_SCHEMES


def test_a_group_size_without_effect_is_refused():
    with pytest.raises(ArgumentError, match="group: expected 3"):
        train_tokenizer(["abc"], 300, numbers="bpe", group=2)


def test_a_single_string_is_not_an_iterable_of_texts():
    with pytest.raises(ArgumentError, match="texts: expected an iterable of strings"):
        train_tokenizer("abc", 300)


def test_a_lone_surrogate_is_named():
    with pytest.raises(ArgumentError, match=r"texts: expected text without lone surrogates.*ud800.*character 3"):
        train_tokenizer(["abc", "xyz\ud800"], 300)


def test_loaded_by_auto_tokenizer_in_a_fresh_process(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    texts = ["The fox 1,234 <|endoftext|> é\r\n", "  日本 👩\u200d👧", "don 't . , !"]
    program = (
        "import json, sys\n"
        "from transformers import AutoTokenizer\n"
        "tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])\n"
        "ids = [tokenizer.encode(text) for text in json.loads(sys.argv[2])]\n"
        "print(json.dumps([ids, [tokenizer.decode(i) for i in ids], tokenizer.eos_token_id, len(tokenizer)]))\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path), json.dumps(texts)]
    output = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120).stdout
    ids, decoded, separator, size = json.loads(output)
    assert ids == [tokenizer.encode(text) for text in texts]
    assert decoded == texts
    assert (separator, size) == (0, 330)


def test_fingerprint_survives_saving_and_calls(tokenizer, tmp_path):
    before = tokenizer_sha256(tokenizer)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    loaded(["a", "longer text"], padding=True, truncation=True, max_length=2)  # leaves both switched on in the backend
    assert tokenizer_sha256(loaded) == before
    assert len(before) == 64


def test_fingerprint_is_the_same_in_another_process(texts, tokenizer):
    program = (
        "import json, sys\n"
        "from lmzoo.tokenization import tokenizer_sha256, train_tokenizer\n"
        "print(tokenizer_sha256(train_tokenizer(json.loads(sys.argv[1]), 330)))\n"
    )
    words = [sys.executable, "-c", program, json.dumps(texts)]
    output = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120).stdout
    assert output.strip() == tokenizer_sha256(tokenizer)


def test_fingerprint_tells_tokenizers_apart(texts, tokenizer):
    other = train_tokenizer(texts, 329)
    assert tokenizer_sha256(other) != tokenizer_sha256(tokenizer)
    special = train_tokenizer(texts, 330)
    special.split_special_tokens = False
    assert tokenizer_sha256(special) != tokenizer_sha256(tokenizer)


def test_fingerprint_needs_a_fast_tokenizer():
    with pytest.raises(ArgumentError, match="tokenizer: expected a fast tokenizer"):
        tokenizer_sha256(object())
