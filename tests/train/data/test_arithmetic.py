"""Generated arithmetic as a source, alone and beside text."""

import pytest
from lmzoo.errors import ArgumentError
from lmzoo.train.data import TextDataModule, load_source
from lmzoo.train.data.arithmetic import Arithmetic, ArithmeticSettings
from lmzoo.train.data.corpus import MissingSplitError
from lmzoo.train.data.sources import Mixed


@pytest.fixture
def settings() -> ArithmeticSettings:
    return ArithmeticSettings(train_problems=100, test_problems=20, train_digits=3)


def test_documents_are_the_problems_in_order(settings):
    corpus = Arithmetic(settings)
    for split, count in (("train", 100), ("validation", 20), ("test", 20)):
        documents = list(corpus.documents(split))
        assert "".join(documents) == "".join(settings.problems().problem(split, i).text for i in range(count))
        assert [document.count("\n") for document in documents] == [16] * (count // 16) + [4]
    assert list(corpus.documents("train")) == list(corpus.documents("train"))


def test_no_line_of_one_split_stands_in_another():
    corpus = Arithmetic(ArithmeticSettings(train_problems=3000, test_problems=1000, train_digits=2))
    lines = {split: set("".join(corpus.documents(split)).splitlines()) for split in ("train", "validation", "test")}
    assert not lines["train"] & lines["test"]
    assert not lines["train"] & lines["validation"]


def test_the_stamp_tells_settings_apart(settings):
    corpus = Arithmetic(settings)
    other = Arithmetic(ArithmeticSettings(train_problems=100, test_problems=20, train_digits=3, problem_seed=1))
    assert corpus.stamp("test") == Arithmetic(settings).stamp("test")
    assert corpus.stamp("test") != corpus.stamp("train")
    assert corpus.stamp("test") != other.stamp("test")


def test_a_mixture_holds_both_texts(settings, list_corpus):
    text = list_corpus(word_rule="whitespace+eol", train=["one\n", "two\n"], test=["three\n"])
    mixed = Mixed([Arithmetic(settings), text])
    assert mixed.name == "arithmetic+list"
    assert mixed.word_rule == "whitespace+eol"
    assert list(mixed.documents("train")) == [*Arithmetic(settings).documents("train"), "one\n", "two\n"]
    assert list(mixed.documents("validation")) == list(Arithmetic(settings).documents("validation"))
    assert mixed.stamp("train") is None
    assert Mixed([Arithmetic(settings)]).stamp("train") is not None
    with pytest.raises(MissingSplitError, match="none of list has a validation split"):
        list(Mixed([text]).documents("validation"))


def test_sources_by_name(settings):
    assert load_source("arithmetic", arithmetic=settings).settings == settings
    mixed = load_source("arithmetic+wikitext-2", detokenize=True, arithmetic=settings)
    assert mixed.name == "arithmetic+wikitext-2-detokenized"
    with pytest.raises(ArgumentError, match="detokenize"):
        load_source("arithmetic+python-docs", detokenize=True)
    with pytest.raises(ArgumentError, match="source"):
        load_source("arithmetic+nowhere-at-all")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train_problems": 0}, "train_problems"),
        ({"test_problems": 0}, "test_problems"),
        ({"train_digits": 1}, "train_digits: expected an integer from 2 to 18"),
        ({"mix": {"sums": 1.0}}, "mix"),
    ],
)
def test_settings_out_of_range_are_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        ArithmeticSettings(**arguments)


def test_arithmetic_goes_the_ordinary_way_through_the_data_module(tmp_path, settings):
    data = TextDataModule("arithmetic", arithmetic=settings, vocab_size=280, context_length=16, cache_dir=str(tmp_path))
    passport = data.passport("test")
    assert (passport["corpus"], passport["documents"], passport["split"]) == ("arithmetic", 2, "test")
    text = "".join(Arithmetic(settings).documents("test"))
    assert passport["bytes"] == len(text)
    prepared = data.prepared("test")
    ids = prepared.tokens.tolist()
    assert data.tokenizer.decode([i for i in ids if i != prepared.separator]) == text
