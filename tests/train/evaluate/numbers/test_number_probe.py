"""The number probe of trained runs, from the command line and in a comparison."""

import json

import pytest
from lmzoo.errors import ArgumentError, ConfigError
from lmzoo.train.cli import main
from lmzoo.train.compare.command import compare
from lmzoo.train.compare.comparison import read_comparison
from lmzoo.train.evaluate.numbers.run import NumbersSettings
from lmzoo.train.runs.evaluation_files import read_probe


@pytest.fixture
def calculating(tiny) -> dict:
    """A tiny run on arithmetic."""
    data = {
        "source": "arithmetic",
        "arithmetic": {"train_problems": 600, "test_problems": 60, "train_digits": 2, "mix": {"addition": 1.0}},
    }
    return tiny | {"data": tiny["data"] | data}


def test_a_comparison_probes_its_runs_and_reports_them(calculating, write, tmp_path, capsys):
    text = {
        "base": calculating,
        "variants": {"rotary": None, "alibi": {"model": {"position": "ALiBi"}}},
        "baseline": "rotary",
        "numbers_probe": {"problems": 3, "digits": 3},
    }
    out = tmp_path / "out"
    assert compare(write(text), output=out) == 0
    settings = NumbersSettings(problems=3, digits=3)
    for variant in ("rotary", "alibi"):
        run = out / variant / "seed-0"
        assert not settings.missing(run)
        assert NumbersSettings(problems=3).missing(run)
        records = read_probe(run)
        loss = records[0]
        tested = next(r for r in json.loads((run / "results.json").read_text())["records"] if r["split"] == "test")
        assert loss["bits_per_byte"] == pytest.approx(tested["bits_per_byte"], rel=1e-5)
        assert loss["nll"] == pytest.approx(loss["number_nll"] + loss["rest_nll"])
        assert (loss["tokens"], loss["bytes"]) == (tested["tokens"], tested["bytes"])
        assert loss["number_words"] == 3 * 60
        card = records[1]["passport"]
        assert (card["train_digits"], card["train_problems"], card["seed"]) == (2, 600, 0)
        assert (
            card["tokenizer_sha256"] == loss["passport"]["tokenizer_sha256"] == tested["passport"]["tokenizer_sha256"]
        )
        assert {r["trained_length"] for r in records[1:] if r["digits"] == 3} == {False}
    report = (out / "report" / "report.md").read_text()
    assert "### Exact match on arithmetic" in report
    assert "### Addition by kind" in report
    assert "### Bits per byte of numbers and of the rest" in report
    assert (out / "report" / "numbers-addition.png").stat().st_size > 1000
    lines = (out / "report" / "numbers.jsonl").read_text().splitlines()
    assert {json.loads(line)["variant"] for line in lines} == {"rotary", "alibi"}

    stamps = [(out / v / "seed-0" / "numbers.jsonl").stat().st_mtime_ns for v in ("rotary", "alibi")]
    assert compare(write(text), output=out) == 0  # nothing is left to do
    assert [(out / v / "seed-0" / "numbers.jsonl").stat().st_mtime_ns for v in ("rotary", "alibi")] == stamps

    # the command, on a text of another source
    other = tmp_path / "other.txt"
    other.write_text("so 12 of 345\n\nwere not there\n\n" * 40)
    capsys.readouterr()
    run = out / "alibi" / "seed-0"
    assert main(["numbers", str(run), "--problems", "0", "--text", str(other), "--split", "validation"]) == 0
    (loss,) = read_probe(run)
    assert (loss["split"], loss["passport"]["corpus"]) == ("validation", "files:other.txt")
    assert "bits per byte on files:other.txt, validation: numbers" in capsys.readouterr().out


def test_a_text_that_is_not_there_is_told_before_anything_is_trained(calculating, write, tmp_path):
    text = {"base": calculating, "variants": {"one": None}, "baseline": "one"}
    file = tmp_path / "train.txt"
    file.write_text("only 1 split\n")
    probe = {"numbers_probe": {"text": str(tmp_path / "nowhere.txt")}}
    with pytest.raises(ArgumentError, match="source"):
        compare(write(text | probe), output=tmp_path / "out")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "train.txt").write_text("only 1 split\n")
    probe = {"numbers_probe": {"text": str(tmp_path / "folder")}}
    with pytest.raises(ConfigError, match="no test text"):
        compare(write(text | probe), output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"problem": 3}, "numbers_probe.problem: unknown key; nearest valid keys: problems"),
        ({"problems": -1}, "numbers_probe.problems: expected 0 or more"),
        ({"split": "train"}, "numbers_probe.split"),
        ({"digits": 30}, "numbers_probe.digits"),
        (3, "numbers_probe: expected true, false or a mapping"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_its_place(tiny, write, given, message):
    text = {"base": tiny, "variants": {"one": None}, "baseline": "one", "numbers_probe": given}
    with pytest.raises(ConfigError, match=r"config\.yaml:.*") as caught:
        read_comparison(write(text))
    assert message in str(caught.value)


def test_true_asks_for_the_defaults_and_is_kept(tiny, write):
    text = {"base": tiny, "variants": {"one": None}, "baseline": "one"}
    assert read_comparison(write(text)).numbers_probe is None
    assert "numbers_probe" not in read_comparison(write(text)).as_yaml()
    read = read_comparison(write(text | {"numbers_probe": True}))
    assert read.numbers_probe == NumbersSettings()
    assert read_comparison(write(read.as_yaml())).numbers_probe == NumbersSettings()


def test_a_damaged_file_is_named(tmp_path):
    assert read_probe(tmp_path) == []
    (tmp_path / "numbers.jsonl").write_text("{")
    with pytest.raises(ConfigError, match=r"numbers\.jsonl: not valid JSON"):
        read_probe(tmp_path)
