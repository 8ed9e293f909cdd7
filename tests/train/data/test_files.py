"""The user's own text files."""

import bz2
import gzip
import lzma

import pytest
from lmzoo.errors import ArgumentError
from lmzoo.train.data.corpus import CorpusError, MissingSplitError
from lmzoo.train.data.files import cut_by_position, pieces, read_lines, read_text, split_of
from lmzoo.train.data.sources import load_source

SPLITS = ("train", "validation", "test")


def by_split(corpus):
    return {split: list(corpus.documents(split)) for split in SPLITS}


@pytest.fixture
def folder(tmp_path):
    """200 short files, some packed, one in a sub-folder, one hidden and one that is no text."""
    for i in range(200):
        (tmp_path / f"{i:03}.txt").write_bytes(f"document {i}\r\n".encode())
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "note.md").write_text("a note")
    (tmp_path / "packed.txt.xz").write_bytes(lzma.compress(b"in xz"))
    (tmp_path / "packed.txt.gz").write_bytes(gzip.compress(b"in gz"))
    (tmp_path / "packed.txt.bz2").write_bytes(bz2.compress(b"in bz2"))
    (tmp_path / ".hidden.txt").write_text("hidden")
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    return tmp_path


def test_a_folder_is_split_by_documents(folder):
    documents = by_split(load_source(str(folder)))
    everything = [text for texts in documents.values() for text in texts]
    expected = [f"document {i}\r\n" for i in range(200)] + ["a note", "in xz", "in gz", "in bz2"]
    assert sorted(everything) == sorted(expected)
    assert [len(documents[s]) > 0 for s in SPLITS] == [True] * 3
    assert 0.8 < len(documents["train"]) / 204 < 0.97
    assert all(split_of(text) == split for split, texts in documents.items() for text in texts)


def test_names_and_order_of_files_do_not_change_the_split(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    for i in range(200):
        (other / f"x{199 - i:03}.txt").write_bytes(f"document {i}\r\n".encode())
    ours, theirs = by_split(load_source(str(folder))), by_split(load_source(str(other)))
    assert all(set(theirs[split]) <= set(ours[split]) for split in SPLITS)


def test_a_folder_with_files_named_by_split(tmp_path):
    (tmp_path / "train.txt").write_text("for training")
    (tmp_path / "valid.txt.gz").write_bytes(gzip.compress(b"for validation"))
    corpus = load_source(str(tmp_path))
    assert list(corpus.documents("train")) == ["for training"]
    assert list(corpus.documents("validation")) == ["for validation"]
    assert corpus.has("validation")
    assert not corpus.has("test")
    with pytest.raises(MissingSplitError, match=r"no test text: the source names train, validation only$"):
        list(corpus.documents("test"))
    (tmp_path / "dev.txt").write_text("more")
    with pytest.raises(CorpusError, match=r"both dev\.txt and valid\.txt\.gz could be the validation split"):
        list(corpus.documents("train"))
    (tmp_path / "dev.txt").rename(tmp_path / "extra.txt")
    with pytest.raises(CorpusError, match=r"has a train file and also extra\.txt"):
        list(corpus.documents("train"))


def test_a_single_file_is_cut_at_blank_lines(tmp_path):
    text = "".join(f"Paragraph {i} with some words.\n\n" for i in range(400))
    (tmp_path / "book.txt").write_text(text)
    documents = by_split(load_source(str(tmp_path / "book.txt")))
    assert "".join("".join(documents[s]) for s in SPLITS) == text
    assert all(documents[s][0].startswith("Paragraph") and documents[s][-1].endswith("\n\n") for s in SPLITS)
    assert abs(len("".join(documents["train"])) / len(text) - 0.9) < 0.02
    assert abs(len("".join(documents["validation"])) / len(text) - 0.05) < 0.02


def test_explicit_files(tmp_path):
    (tmp_path / "a.txt").write_text("A")
    (tmp_path / "b.txt").write_text("B")
    corpus = load_source({"train": str(tmp_path / "a.txt"), "test": str(tmp_path / "b.txt")})
    assert list(corpus.documents("train")) == ["A"]
    assert list(corpus.documents("test")) == ["B"]
    hint = "no validation text: the source names .* only; --trainer.limit_val_batches 0 trains without validation"
    with pytest.raises(MissingSplitError, match=hint):
        list(corpus.documents("validation"))


def test_marked_articles_are_documents(tmp_path):
    articles = [f"Article {i}\n\nText {i}.\n" for i in range(150)]
    marked = "".join(f'<doc id="{i}" url="u" title="t">\n{text}\n</doc>\n' for i, text in enumerate(articles))
    (tmp_path / "wiki.txt.xz").write_bytes(lzma.compress(marked.encode()))
    documents = by_split(load_source(str(tmp_path / "wiki.txt.xz")))
    assert sorted(text for texts in documents.values() for text in texts) == sorted(articles)
    assert all(documents.values())
    explicit = load_source({"train": str(tmp_path / "wiki.txt.xz")})
    assert list(explicit.documents("train")) == articles


def test_a_path_below_the_data_folder(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.txt").write_text("T")
    monkeypatch.setenv("LMZOO_DATA", str(tmp_path))
    assert list(load_source("mine").documents("train")) == ["T"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("wikitxt-2", "there is no such path; did you mean wikitext-2"),
        ("hub:a/b/c", "expected hub:owner/name"),
        ("hub:", "expected hub:owner/name"),
        ("", "expected python-docs, wikitext-2"),
        ({}, "at least one split"),
        ({"valid": "x"}, "splits train, validation, test as keys, got 'valid'"),
        ({"train": "/no/such/file.txt"}, "source.train: expected the path of an existing text file"),
    ],
)
def test_sources_that_do_not_exist(source, message):
    with pytest.raises(ArgumentError, match=message):
        load_source(source)


@pytest.mark.parametrize("option", ["raw", "detokenize"])
def test_wikitext_options_are_for_wikitext(option):
    with pytest.raises(ArgumentError, match=f"{option}: expected false for a source other than WikiText"):
        load_source("python-docs", **{option: True})


def test_damaged_files_are_named(tmp_path):
    bad = tmp_path / "bad.txt"
    bad.write_bytes(b"fine\nfine\nnot \xff utf-8\n")
    with pytest.raises(CorpusError, match=r"bad.txt: line 3 is not UTF-8"):
        list(read_lines(bad))
    packed = tmp_path / "cut.txt.xz"
    packed.write_bytes(lzma.compress(b"text" * 1000)[:-20])
    with pytest.raises(CorpusError, match=r"cut.txt.xz: cannot be read"):
        read_text(packed)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="no text file"):
        list(load_source(str(tmp_path / "empty")).documents("train"))


def test_lines_end_at_newlines_only(tmp_path):
    text = "a\u2028b\x0cc\rd\r\ne\u0085\n"
    path = tmp_path / "t.txt"
    path.write_bytes(text.encode())
    assert list(read_lines(path)) == ["a\u2028b\x0cc\rd\r\n", "e\u0085\n"]


@pytest.mark.parametrize("text", ["", "short", "word " * 100, "x" * 500, "para\n\n" * 60, "line\n" * 90])
def test_pieces_join_to_the_text(text):
    parts = list(pieces(text, 64))
    assert "".join(parts) == text
    assert all(0 < len(part) <= 64 for part in parts)
    assert "".join(cut_by_position(text).values()) == text
