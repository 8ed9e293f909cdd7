"""A tokenised split says exactly what the text says."""

import hashlib
import pickle
import signal
import subprocess
import sys
import textwrap
from itertools import pairwise

import numpy as np
import pytest
from lmzoo.errors import ArgumentError
from lmzoo.tokenization import tokenizer_sha256, train_tokenizer
from lmzoo.tokenization.structure import marker_names
from lmzoo.train.data import encode
from lmzoo.train.data.corpus import CorpusError, MissingSplitError, count_words, text_facts
from lmzoo.train.data.encode import prepare_split
from lmzoo.train.data.sources import load_source
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast


@pytest.fixture(params=["whitespace", "whitespace+eol"])
def corpus(request, list_corpus, small_texts):
    return list_corpus(request.param, train=small_texts, validation=small_texts, test=small_texts[:2])


def documents_of(prepared):
    """Ids between separators."""
    bounds = [*prepared.separators.tolist(), prepared.length]
    return [prepared.tokens[a + 1 : b].tolist() for a, b in pairwise(bounds)]


@pytest.mark.parametrize("split", ["train", "validation"])
def test_tokens_are_those_of_each_document(corpus, tokenizer, small_texts, tmp_path, split):
    prepared = prepare_split(corpus, split, tokenizer, tmp_path)
    assert documents_of(prepared) == [tokenizer.encode(text) for text in small_texts]
    assert [tokenizer.decode(ids) for ids in documents_of(prepared)] == small_texts
    assert set(prepared.tokens[prepared.separators].tolist()) == {tokenizer.eos_token_id}
    assert prepared.separators[0] == 0
    assert prepared.tokens.dtype == np.uint16


def test_bytes_and_words_add_up_document_by_document(corpus, tokenizer, small_texts, tmp_path):
    prepared = prepare_split(corpus, "validation", tokenizer, tmp_path)
    bounds = [*prepared.separators.tolist(), prepared.length]
    for text, first, last in zip(small_texts, bounds[:-1], bounds[1:]):
        assert prepared.token_bytes[first:last].sum() == len(text.encode())
        assert prepared.token_words[first:last].sum() == count_words(text, corpus.word_rule)
    assert not prepared.token_bytes[prepared.separators].any()
    assert not prepared.token_words[prepared.separators].any()
    assert prepared.meta["bytes"] == prepared.token_bytes.sum()
    assert prepared.meta["words"] == prepared.token_words.sum()


@pytest.mark.parametrize("numbers", ["triadic", "triadic_suffix"])
def test_magnitude_markers_take_no_bytes_and_no_words(list_corpus, tmp_path, numbers):
    texts = ["It grew by 12345678 people\n", "to 3.14159 or 0.10, v1.2.3 \x0e 1234"]
    tokenizer = train_tokenizer(texts, 320, numbers=numbers)
    prepared = prepare_split(list_corpus(validation=texts), "validation", tokenizer, tmp_path)
    bounds = [*prepared.separators.tolist(), prepared.length]
    for text, first, last in zip(texts, bounds[:-1], bounds[1:]):
        assert prepared.token_bytes[first:last].sum() == len(text.encode())
        assert prepared.token_words[first:last].sum() == len(text.encode().split())
    alone = {tokenizer.convert_tokens_to_ids(character) for character in marker_names(tokenizer)}
    markers = np.isin(prepared.tokens[:], list(alone))
    assert markers.any()
    assert not prepared.token_bytes[markers].any()
    assert not prepared.token_words[markers].any()


def test_bytes_by_token_against_brute_force(list_corpus, tokenizer, tmp_path):
    text = "日本 é\n 👩\u200d👧x"
    corpus = list_corpus(validation=[text])
    prepared = prepare_split(corpus, "validation", tokenizer, tmp_path)
    offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    expected, end = [0], 0
    for _, last in offsets:
        expected.append(len(text[end:last].encode()))
        end = max(end, last)
    assert prepared.token_bytes.tolist() == expected


def test_passport_facts(corpus, tokenizer, small_texts, tmp_path):
    meta = prepare_split(corpus, "train", tokenizer, tmp_path).meta
    expected = hashlib.sha256()
    for text in small_texts:
        expected.update(len(text.encode()).to_bytes(8, "big") + text.encode())
    assert meta["text_sha256"] == expected.hexdigest()
    assert meta["tokenizer_sha256"] == tokenizer_sha256(tokenizer)
    assert meta["documents"] == len(small_texts)
    assert meta["words"] == sum(count_words(text, corpus.word_rule) for text in small_texts)
    assert meta["bytes"] == sum(len(text.encode()) for text in small_texts)


def test_batching_changes_nothing(corpus, tokenizer, tmp_path, monkeypatch):
    whole = prepare_split(corpus, "validation", tokenizer, tmp_path / "a")
    monkeypatch.setattr(encode, "BATCH_CHARACTERS", 10)
    parts = prepare_split(corpus, "validation", tokenizer, tmp_path / "b")
    for name in ("tokens", "separators", "token_bytes", "token_words"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


def test_taken_from_the_cache_the_second_time(corpus, tokenizer, tmp_path, monkeypatch):
    first = prepare_split(corpus, "train", tokenizer, tmp_path)
    monkeypatch.setattr(encode.SplitEncoder, "write", lambda *_: pytest.fail("tokenised again"))
    again = prepare_split(corpus, "train", tokenizer, tmp_path)
    assert again.folder == first.folder


def test_other_text_or_tokenizer_is_another_folder(list_corpus, tokenizer, small_texts, tmp_path):
    folders = {
        prepare_split(list_corpus(train=["ab", "c"]), "train", tokenizer, tmp_path).folder,
        prepare_split(list_corpus(train=["a", "bc"]), "train", tokenizer, tmp_path).folder,
        prepare_split(list_corpus(train=["a", "bc"]), "train", train_tokenizer(["x"], 257), tmp_path).folder,
        prepare_split(list_corpus(test=["a", "bc"]), "test", tokenizer, tmp_path).folder,
        prepare_split(list_corpus("whitespace+eol", test=["a", "bc"]), "test", tokenizer, tmp_path).folder,
    }
    assert len(folders) == 5


@pytest.mark.parametrize("name", ["tokens.bin", "bytes.bin", "words.bin", "separators.bin", "meta.json"])
def test_a_truncated_or_missing_file_is_rebuilt(corpus, tokenizer, tmp_path, name):
    prepared = prepare_split(corpus, "validation", tokenizer, tmp_path)
    path = prepared.folder / name
    content = path.read_bytes()
    path.write_bytes(content[:-8])
    prepare_split(corpus, "validation", tokenizer, tmp_path)
    assert path.read_bytes() == content
    path.unlink()
    prepare_split(corpus, "validation", tokenizer, tmp_path)
    assert path.read_bytes() == content


def test_text_that_changes_meanwhile_is_refused(list_corpus, tokenizer, tmp_path):
    corpus = list_corpus(train=["first"])
    read = corpus.documents

    def documents(split):
        corpus.splits = {"train": [f"read {corpus.reads}"]}
        return read(split)

    corpus.documents = documents
    with pytest.raises(CorpusError, match="the train split of list changed"):
        prepare_split(corpus, "train", tokenizer, tmp_path)
    assert not list((tmp_path / "tokens").iterdir())


def test_empty_and_missing_splits(list_corpus, tokenizer, tmp_path):
    with pytest.raises(MissingSplitError, match="the test split of list holds no text"):
        prepare_split(list_corpus(test=[]), "test", tokenizer, tmp_path)
    with pytest.raises(MissingSplitError):
        prepare_split(list_corpus(), "test", tokenizer, tmp_path)


def test_facts_are_remembered_by_stamp(list_corpus, tmp_path):
    corpus = list_corpus(train=["a b"])
    corpus.stamp = lambda split: {"time": 1}
    first = text_facts(corpus, "train", tmp_path)
    assert text_facts(corpus, "train", tmp_path) == first
    assert corpus.reads == 1
    corpus.stamp = lambda split: {"time": 2}
    text_facts(corpus, "train", tmp_path)
    assert corpus.reads == 2


def test_a_prepared_split_is_pickled_without_its_tokens(corpus, tokenizer, tmp_path):
    prepared = prepare_split(corpus, "validation", tokenizer, tmp_path)
    tokens = prepared.tokens[:].tolist()
    data = pickle.dumps(prepared)
    assert len(data) < 2000
    assert pickle.loads(data).tokens.tolist() == tokens


def test_counts(corpus, tokenizer, tmp_path):
    prepared = prepare_split(corpus, "train", tokenizer, tmp_path)
    counts = prepared.counts(len(tokenizer))
    assert counts.dtype == np.int64
    assert counts.tolist() == [prepared.tokens[1:].tolist().count(i) for i in range(len(tokenizer))]


def word_tokenizer(vocabulary: dict[str, int], **roles: str) -> PreTrainedTokenizerFast:
    """One that drops white space, as lossy tokenizers do."""
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, **roles)


def test_a_lossy_tokenizer_still_accounts_for_every_byte(list_corpus, tmp_path):
    tokenizer = word_tokenizer({"a": 0, "b": 1, "</s>": 2, "?": 3}, eos_token="</s>")
    prepared = prepare_split(list_corpus(test=["  a  b  "]), "test", tokenizer, tmp_path)
    assert prepared.tokens.tolist() == [2, 0, 1]
    assert prepared.token_bytes.tolist() == [0, 3, 5]
    assert prepared.token_words.tolist() == [0, 1, 1]


def test_tokenizers_that_cannot_serve(list_corpus, tmp_path):
    with pytest.raises(ArgumentError, match="tokenizer: expected a tokenizer with an eos or bos token"):
        prepare_split(list_corpus(test=["a"]), "test", word_tokenizer({"a": 0, "?": 1}), tmp_path)
    tokenizer = word_tokenizer({"a": 0, "</s>": 1, "?": 2}, eos_token="</s>")
    with pytest.raises(ArgumentError, match=r"tokenizer: expected one that gives every text tokens, got .*none for"):
        prepare_split(list_corpus(test=["a", "  \n "]), "test", tokenizer, tmp_path)


def test_large_vocabularies_take_wider_integers(list_corpus, tmp_path):
    vocabulary = {f"w{i}": i for i in range(70_000)} | {"</s>": 70_000, "?": 70_001}
    tokenizer = word_tokenizer(vocabulary, eos_token="</s>")
    prepared = prepare_split(list_corpus(train=["w69999 w1"]), "train", tokenizer, tmp_path)
    assert prepared.tokens.tolist() == [70_000, 69_999, 1]
    assert prepared.tokens.dtype == np.uint32


def test_switched_on_truncation_does_not_reach_the_corpus(list_corpus, tokenizer, tmp_path):
    tokenizer("some text", truncation=True, max_length=2, padding="max_length")
    text = "two lines of plain words " * 20
    prepared = prepare_split(list_corpus(train=[text]), "train", tokenizer, tmp_path)
    assert tokenizer.decode(prepared.tokens[1:].tolist()) == text


KILLED = textwrap.dedent("""
    import os, signal, sys
    from pathlib import Path
    from lmzoo.tokenization import train_tokenizer
    from lmzoo.train.data import encode
    from lmzoo.train.data.encode import prepare_split
    from lmzoo.train.data.sources import load_source

    class Killed(encode.TextMeter):
        seen = 0
        def add(self, document):
            Killed.seen += 1
            if Killed.seen == 30:
                os.kill(os.getpid(), signal.SIGKILL)
            super().add(document)
    encode.TextMeter = Killed
    encode.BATCH_CHARACTERS = 50
    corpus = load_source(sys.argv[1])
    prepare_split(corpus, "train", train_tokenizer(corpus.documents("train"), 260), Path(sys.argv[2]))
""")


def test_killed_in_the_middle_of_tokenising(tmp_path):
    texts = tmp_path / "texts"
    texts.mkdir()
    for i in range(60):
        (texts / f"{i}.txt").write_text(f"text number {i} with some words in it\n")
    words = [sys.executable, "-c", KILLED, str(texts), str(tmp_path / "cache")]
    killed = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = [path.name for path in (tmp_path / "cache" / "tokens").iterdir()]
    assert len(left) == 1
    assert left[0].startswith(".partial-")

    corpus = load_source(str(texts))
    tokenizer = train_tokenizer(corpus.documents("train"), 260)
    folders = [prepare_split(corpus, "train", tokenizer, tmp_path / cache).folder for cache in ("cache", "fresh")]
    assert folders[0].name == folders[1].name
    assert (folders[0] / "tokens.bin").read_bytes() == (folders[1] / "tokens.bin").read_bytes()
