"""Loss on numbers apart from the rest, against a token-by-token count."""

import math
import re

import numpy as np
import pytest
import torch
from lmzoo.models import Decoder
from lmzoo.tokenization import train_tokenizer
from lmzoo.train.data.corpus import Corpus
from lmzoo.train.data.encode import prepare_split
from lmzoo.train.evaluate.numbers.loss import number_loss, number_tokens
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

TEXTS = [
    "In 1999, about 1,500 of the\n\n(12 percent) left at 5.30pm.\n",
    "no figures here, and none there\n",
    "7 \n 日本 2024年 and x2y  done  ",
]


class Texts(Corpus):
    name = "texts"
    word_rule = "whitespace"

    def documents(self, split):
        return iter(TEXTS)

    def stamp(self, split):
        return None


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([*TEXTS, "In 1999 about (12 percent) of 2024 and 1,500 left " * 3], 290)


@pytest.fixture(scope="module")
def prepared(tokenizer, tmp_path_factory):
    return prepare_split(Texts(), "test", tokenizer, tmp_path_factory.mktemp("cache"))


def by_hand(tokenizer) -> list[bool]:
    """A flag a token, separators included, from the bytes that the tokens decode to."""
    flags = []
    for text in TEXTS:
        owners = []  # for each byte, the word it is in: white space goes with the word after it
        word = 0
        for i, character in enumerate(text):
            if character.isspace() and i and not text[i - 1].isspace():
                word += 1
            owners += [word] * len(character.encode())
        words = [
            b"".join(bytes([b]) for b, o in zip(text.encode(), owners, strict=True) if o == w) for w in range(word + 1)
        ]
        flags.append(False)
        at = 0
        for i in tokenizer(text)["input_ids"]:
            size = len(tokenizer.convert_ids_to_tokens(i))  # a character of byte-level BPE stands for one byte
            flags.append(re.search(rb"[0-9]", words[owners[at]]) is not None)
            at += size
        assert at == len(text.encode())
    return flags


def test_tokens_of_words_with_a_digit_are_marked(tokenizer, prepared):
    found = number_tokens(TEXTS, tokenizer)
    assert found.is_number.tolist() == by_hand(tokenizer)
    assert found.is_number.size == prepared.length
    assert found.words == 7
    assert found.straddling == 0
    marked = int(prepared.token_bytes[found.is_number].sum())
    assert marked == sum(map(len, [" 1999,", " 1,500", "\n\n(12", " 5.30pm.", "7", " x2y"])) + len(" 2024年".encode())


def test_tokens_that_lie_in_both_are_counted():
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(["of 12"] * 50, BpeTrainer(vocab_size=300, special_tokens=["<|end|>"]))
    joined = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>")
    found = number_tokens(["of 12"], joined)
    assert (found.is_number.tolist(), found.straddling, found.words) == ([False, True], 1, 1)


@pytest.mark.parametrize("context_length", [5, 1000])
def test_sums_are_those_of_every_token_and_add_up(tokenizer, prepared, context_length):
    torch.manual_seed(0)
    network = Decoder(290, 16, 1, 2, init_std=0.5).eval()
    found = number_tokens(TEXTS, tokenizer)
    done = []
    figures = number_loss(network, prepared, found, context_length=context_length, batch_size=3, advance=done.append)
    tokens = torch.from_numpy(prepared.tokens.astype(np.int64))
    flags = by_hand(tokenizer)
    sums, sizes, counts = [0.0, 0.0], [0, 0], [0, 0]
    for first in range(0, len(tokens) - 1, context_length):
        window = tokens[first : first + context_length + 1]
        with torch.no_grad():
            logs = network(window[None])[0].double().log_softmax(dim=-1)
        for j in range(1, len(window)):
            if int(window[j]) == prepared.separator:
                continue
            k = int(flags[first + j])
            sums[k] -= float(logs[j - 1, window[j]])
            sizes[k] += int(prepared.token_bytes[first + j])
            counts[k] += 1
    assert sum(done) == math.ceil((len(tokens) - 1) / context_length)
    assert (figures["rest_nll"], figures["number_nll"]) == pytest.approx(tuple(sums), rel=1e-5)
    assert [figures["rest_bytes"], figures["number_bytes"]] == sizes
    assert [figures["rest_tokens"], figures["number_tokens"]] == counts
    assert figures["nll"] == pytest.approx(figures["rest_nll"] + figures["number_nll"], rel=1e-12)
    assert figures["bytes"] == sum(sizes) == sum(len(text.encode()) for text in TEXTS)
    assert figures["tokens"] == prepared.scored_tokens
    for name, k in (("rest", 0), ("number", 1)):
        assert figures[f"{name}_bits_per_byte"] == pytest.approx(sums[k] / math.log(2) / sizes[k], rel=1e-5)
