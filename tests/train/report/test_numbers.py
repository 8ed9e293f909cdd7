"""What a report says of number probes, from probe records written by hand."""

import json

import pytest
from lmzoo.train.evaluate.numbers.answers import share
from lmzoo.train.evaluate.numbers.plots import number_plots
from lmzoo.train.evaluate.numbers.tables import number_tables
from lmzoo.train.report.write import write_report
from lmzoo.train.runs.load import load_comparison

# variant -> seed -> right answers of 10 to additions of (2 digits no carry, 2 digits carry, 3 digits no carry)
RIGHT = {"r2l3": [(10, 6, 1), (9, 8, 3)], "triadic": [(10, 9, 2), (10, 9, 4)]}
STRATA = [(2, "no carry"), (2, "carry"), (3, "no carry")]


def records(right, passport, *, number_bits=3.0, straddling=0) -> list[dict]:
    text = {"probe": "text_loss", "split": "test", "protocol": "non_overlapping", "length": 128}
    sums = {"number_tokens": 60, "number_words": 20, "number_bytes": 100, "tokens": 260, "bytes": 1000}
    text |= sums | {"rest_bytes": 900, "straddling_tokens": straddling, "passport": {"corpus": "c", "text_sha256": "t"}}
    text |= {"number_bits_per_byte": number_bits, "rest_bits_per_byte": 2.0, "bits_per_byte": 2.1}
    asked = [
        {"probe": "exact_match", "operation": "addition", "digits": digits, "kind": kind, "passport": passport}
        | {"trained_length": digits <= 2}
        | share(n, 10)
        for (digits, kind), n in zip(STRATA, right, strict=True)
    ]
    return [text, *asked]


@pytest.fixture
def probed(make_comparison, make_run):
    """``probed(seeds, passports=...)``: the folder of a comparison whose runs were probed."""

    def make(seeds: list[int], passports: dict | None = None, **text):
        output = make_comparison(["r2l3", "triadic"], seeds)
        for variant, by_seed in RIGHT.items():
            for seed in seeds:
                folder = make_run(output, variant, seed)
                passport = {"problems_sha256": "p" * 64, "train_digits": 2} | (passports or {}).get(variant, {})
                lines = [json.dumps(r) + "\n" for r in records(by_seed[seed], passport, **text)]
                (folder / "numbers.jsonl").write_text("".join(lines))
        return output

    return make


def cells(table, variant: str) -> dict[str, str]:
    row = next(row for row in table.rows if row.variant == variant)
    return dict(zip(table.columns, map(str, row.cells), strict=True))


def test_one_seed_shows_wilsons_interval(probed):
    tables = {table.title: table for table in number_tables(load_comparison(probed([0])))}
    overall = tables["Exact match on arithmetic"]
    assert overall.columns == ["addition, up to 2 digits", "addition, longer"]
    low, high = (f"{100 * share(16, 20)[end]:.1f}" for end in ("low", "high"))
    assert cells(overall, "r2l3") == {
        "addition, up to 2 digits": f"80.0 [{low}, {high}]",
        "addition, longer": "10.0 [1.8, 40.4]",
    }
    assert cells(overall, "triadic")["addition, up to 2 digits"].startswith("95.0 [")
    assert [row.cells[0].best for row in overall.rows] == [False, True]
    assert "addition, up to 2 digits 20, addition, longer 10" in overall.notes[0]
    assert "not another seed" in overall.notes[1]
    assert "(30 a run)" in overall.sentence
    kinds = tables["Addition by kind"]
    assert kinds.columns == ["no carry, up to 2 digits", "no carry, longer", "carry, up to 2 digits"]
    assert cells(kinds, "r2l3")["carry, up to 2 digits"].startswith("60.0 [")
    assert tables["Addition by length"].columns == ["2 digits", "3 digits"]


def test_bold_is_over_the_seeds_that_all_rows_have(probed):
    output = probed([0, 1])
    lines = [json.loads(line) for line in (output / "r2l3" / "seed-1" / "numbers.jsonl").read_text().splitlines()]
    for line in lines:  # a seed that the other lacks, at which everything is right
        line.update(share(10, 10) if line["probe"] == "exact_match" else {"number_bits_per_byte": 0.1})
    (output / "r2l3" / "seed-1" / "numbers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (output / "triadic" / "seed-1" / "numbers.jsonl").unlink()
    tables = {table.title: table for table in number_tables(load_comparison(output))}
    addition = tables["Addition by length"]  # of 3 digits: 1 and 10 of 10 against 2
    assert [cells(addition, name)["3 digits"].split()[0] for name in ("r2l3", "triadic")] == ["55.0", "20.0"]
    assert [row.cells[1].best for row in addition.rows] == [False, True]
    loss = tables["Bits per byte of numbers and of the rest"]
    assert [row.cells[0].best for row in loss.rows] == [True, True]


def test_several_seeds_show_their_deviation(probed):
    tables = {table.title: table for table in number_tables(load_comparison(probed([0, 1])))}
    overall = tables["Exact match on arithmetic"]
    assert cells(overall, "r2l3") == {"addition, up to 2 digits": "82.5 ± 3.5", "addition, longer": "20.0 ± 14.1"}
    assert cells(overall, "triadic")["addition, up to 2 digits"] == "95.0 ± 0.0"
    assert "addition, longer 10." in overall.notes[0]


def test_the_loss_on_numbers(probed):
    table = number_tables(load_comparison(probed([0])))[-1]
    assert cells(table, "triadic") == {
        "Words with a digit": "3.0000 n=1",
        "Other words": "2.0000 n=1",
        "All": "2.1000 n=1",
        "Tokens a number": "3.00",
        "Bytes a token": "3.85",
    }
    assert not any("Tokens that lie in words of both sorts" in note for note in table.notes)


def test_tokens_in_both_sorts_of_words_are_told(probed):
    table = number_tables(load_comparison(probed([0], straddling=4)))[-1]
    assert any("Tokens that lie in words of both sorts" in n and "triadic 4" in n for n in table.notes)


def test_answers_to_other_problems_stand_in_other_tables(probed):
    output = probed([0], {"triadic": {"problems_sha256": "q" * 64}})
    overall = [t for t in number_tables(load_comparison(output)) if t.title.startswith("Exact match")]
    assert [[row.variant for row in table.rows] for table in overall] == [["r2l3"], ["triadic"]]
    assert len({table.title for table in overall}) == 2
    assert len({plot.file for plot in number_plots(load_comparison(output))}) == 2


def test_lengths_of_training_are_marked_in_the_picture(probed):
    (plot,) = number_plots(load_comparison(probed([0, 1])))
    assert plot.file == "numbers-addition.png"
    assert "longer than the 2 digits of training" in plot.caption
    assert "the lowest and the highest seed" in plot.caption
    assert "r2l3 82, 20; triadic 95, 30" in plot.alt.replace("83", "82")
    assert plot.light != plot.dark


def test_a_report_without_probes_says_nothing_of_them(three_by_two):
    assert number_tables(load_comparison(three_by_two)) == []
    assert number_plots(load_comparison(three_by_two)) == []
    write_report(three_by_two)
    assert not (three_by_two / "report" / "numbers.jsonl").exists()


def test_the_report_holds_the_records(probed):
    output = probed([0])
    _, page = write_report(output)
    assert "Exact match on arithmetic" in page.read_text()
    lines = [json.loads(line) for line in (output / "report" / "numbers.jsonl").read_text().splitlines()]
    assert len(lines) == 2 * 4
    assert {line["variant"] for line in lines} == {"r2l3", "triadic"}
