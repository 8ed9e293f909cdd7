"""``lmzoo tokenizer train`` and ``inspect`` as a user calls them."""

import pytest
from lmzoo.tokenization import NUMBER_SCHEMES, train_tokenizer
from lmzoo.train.cli import main
from lmzoo.train.data import load_source
from lmzoo.train.data.tokenizer_command import coloured
from transformers import AutoTokenizer

TEXT = "The dog counts 12345678 fleas, and 1.50 cats; then 123 more.\n" * 3


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LMZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def source(tmp_path):
    file = tmp_path / "text.txt"
    file.write_text(TEXT)
    return str(file)


def test_train_writes_the_tokenizer_asked_for(source, tmp_path, capsys):
    output = tmp_path / "tokenizer"
    words = ["tokenizer", "train", source, str(output), "--vocab_size", "400", "--numbers", "triadic", "--group", "2"]
    assert main([*words, "--pad_fraction", "true"]) == 0
    assert "400 tokens" in capsys.readouterr().out
    loaded = AutoTokenizer.from_pretrained(output)
    documents = load_source(source).documents("train")
    direct = train_tokenizer(documents, 400, numbers="triadic", group=2, pad_fraction=True)
    assert loaded.backend_tokenizer.to_str() == direct.backend_tokenizer.to_str()
    assert main(words) == 2  # never over an existing folder
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--numbers", "triadicc"], "numbers: expected one of triadic"),
        (["--numbers", "bpe", "--group", "2"], "group: expected 3"),
        (["--numbers", "triadic", "--all_groups", "true"], "at least 12467"),
    ],
)
def test_bad_options_are_named(source, tmp_path, capsys, options, message):
    assert main(["tokenizer", "train", source, str(tmp_path / "new"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_inspect_shows_schemes_side_by_side(source, capsys):
    words = ["--source", source, "--vocab_size", "280"]
    assert main(["tokenizer", "inspect", "all", "12345678", *words]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    rows = {line[0]: line[1:] for line in lines if line and line[0] in NUMBER_SCHEMES}
    assert set(rows) == set(NUMBER_SCHEMES)
    assert rows["digits"] == ["8", "1|2|3|4|5|6|7|8"]
    assert all(len(text.split("|")) == int(count) for count, text in rows.values())
    assert "‹m›" in rows["triadic"][1]
    assert "‹" not in rows["r2l3"][1]


def test_inspect_takes_folders_and_single_names(source, tmp_path, capsys):
    train_tokenizer([TEXT], 280).save_pretrained(tmp_path / "saved")
    names = f"{tmp_path / 'saved'},digits"
    assert main(["tokenizer", "inspect", names, "a 12", "--source", source, "--vocab_size", "280"]) == 0
    assert "saved" in capsys.readouterr().out
    assert main(["tokenizer", "inspect", str(tmp_path / "saved"), "a 12"]) == 0
    assert " tokens, 4 bytes: " in capsys.readouterr().out
    assert main(["tokenizer", "inspect", "nowhere", "a"]) == 2
    assert "expected a folder with a tokenizer.json in it, all, or one of bpe" in capsys.readouterr().err


def test_coloured_text_is_the_text_with_markers(tmp_path):
    tokenizer = train_tokenizer([TEXT], 400, numbers="triadic_suffix")
    text = "é 12345678\n1.5 \x0e"
    shown = coloured(tokenizer, text)
    assert shown.plain == "é 12‹m›345‹k›678↵\n1.5‹p› \x0e"
    styles = {str(span.style) for span in shown.spans}
    assert {"black on bright_cyan", "black on bright_yellow"} <= styles
