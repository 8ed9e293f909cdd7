"""WikiText from local files, made up and real."""

import lzma

import pytest
from lmzoo.train.data.corpus import CorpusError, count_words
from lmzoo.train.data.sources import load_source

PUBLISHED = {"train": 2_088_628, "validation": 217_646, "test": 245_569}


@pytest.mark.parametrize(
    ("folder", "file", "raw", "split"),
    [
        ("wikitext-2", "wiki.train.tokens", False, "train"),
        ("wikitext-2", "valid.txt", False, "validation"),
        ("wikitext-2-v1", "test.txt.xz", False, "test"),
        ("wikitext-2-raw", "wiki.valid.raw", True, "validation"),
        ("wikitext-2-raw-v1", "train.txt", True, "train"),
    ],
)
def test_local_names(tmp_path, monkeypatch, folder, file, raw, split):
    text = " \n = A = \n \n x \n"
    (tmp_path / folder).mkdir()
    (tmp_path / folder / file).write_bytes(lzma.compress(text.encode()) if file.endswith(".xz") else text.encode())
    monkeypatch.setenv("LMZOO_DATA", str(tmp_path))
    corpus = load_source("wikitext-2", raw=raw)
    assert list(corpus.documents(split)) == [text]
    assert corpus.name == ("wikitext-2-raw" if raw else "wikitext-2")
    assert load_source("wikitext-2", raw=not raw).local_file(split) is None
    assert load_source("wikitext-103", raw=raw).local_file(split) is None


def test_a_changed_file_has_another_stamp(tmp_path, monkeypatch):
    (tmp_path / "wikitext-2").mkdir()
    file = tmp_path / "wikitext-2" / "test.txt"
    file.write_text(" a \n")
    monkeypatch.setenv("LMZOO_DATA", str(tmp_path))
    corpus = load_source("wikitext-2")
    before = corpus.stamp("test")
    assert before == corpus.stamp("test")
    file.write_text(" a b \n")
    assert corpus.stamp("test") != before
    assert load_source("wikitext-2", detokenize=True).stamp("test") != corpus.stamp("test")


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "raw", "split", "articles"),
    [
        ("wikitext-2", False, "train", 600),
        ("wikitext-2", False, "validation", 60),
        ("wikitext-2", False, "test", 60),
        ("wikitext-2", True, "test", 60),
        ("wikitext-103", False, "validation", 60),
        ("wikitext-103", False, "test", 60),
    ],
)
def test_published_counts_and_bytes(real_data, monkeypatch, name, raw, split, articles):
    monkeypatch.setenv("LMZOO_DATA", str(real_data))
    corpus = load_source(name, raw=raw)
    file = corpus.local_file(split)
    if file is None:
        pytest.skip(f"no local copy of {corpus.name} {split}")
    documents = list(corpus.documents(split))
    assert len(documents) == articles
    assert "".join(documents).encode() == file.read_bytes()
    assert sum(count_words(text, corpus.word_rule) for text in documents) == PUBLISHED[split]
    assert all(text.startswith(" \n = ") for text in documents)


@pytest.mark.corpus
def test_detokenized_text_has_no_marked_signs(real_data, monkeypatch):
    monkeypatch.setenv("LMZOO_DATA", str(real_data))
    corpus = load_source("wikitext-2", detokenize=True)
    if corpus.local_file("test") is None:
        pytest.skip("no local copy of wikitext-2 test")
    text = "".join(corpus.documents("test"))
    assert not any(sign in text for sign in (" @-@ ", " @,@ ", " @.@ ", " , ", " . "))
    assert text.count("\n") == 4358
    assert corpus.name == "wikitext-2-detokenized"


@pytest.mark.corpus
def test_a_part_of_the_training_split_is_not_taken_for_it(real_data, monkeypatch):
    monkeypatch.setenv("LMZOO_DATA", str(real_data))
    if not (real_data / "wikitext-103" / "wiki.train.head.tokens.xz").is_file():
        pytest.skip("no head of WikiText-103's training split here")
    monkeypatch.setattr("lmzoo.train.data.wikitext.hub_rows", _no_hub)
    with pytest.raises(CorpusError, match=r"split train: no file wiki.train.tokens.*wiki.train.head.tokens.xz"):
        list(load_source("wikitext-103").documents("train"))


def _no_hub(*arguments):
    raise CorpusError("offline")
