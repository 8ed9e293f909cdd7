"""What a report says of the trials of learning rates."""

import json

import pytest
import yaml
from lmzoo.train.report.collect import collect
from lmzoo.train.report.tuning import TuningReport
from lmzoo.train.report.write import write_report
from lmzoo.train.runs.load import load_comparison
from lmzoo.train.runs.trials import trial_rows


@pytest.fixture
def tuned(make_comparison, make_run):
    """Three variants: the first chooses a middle rate, the second the largest, the third has not ended."""
    output = make_comparison(["rotary", "alibi", "none"], [0])
    asked = yaml.safe_load((output / "comparison.yaml").read_text())
    asked["tuning"] = {"learning_rates": [0.001, 0.003, 0.01], "seed": 9, "fraction": 0.05, "max_steps": None}
    (output / "comparison.yaml").write_text(yaml.safe_dump(asked, sort_keys=False))
    for name, losses in {"rotary": (4.0, 3.5, None), "alibi": (4.0, 3.75, 3.25), "none": (4.0, 3.5)}.items():
        for rate, loss in zip((0.001, 0.003, 0.01), losses, strict=False):
            state = "failed" if loss is None else "finished"
            record = {"split": "validation", "cross_entropy": loss}
            make_run(output / "tuning" / name, f"lr-{rate!r}", 9, state=state, results={"records": [record]})
    make_run(output, "rotary", 0)
    return output


def test_the_table_shows_every_trial_and_the_choice(tuned):
    report = TuningReport(load_comparison(tuned))
    table = report.table()
    assert table.columns == ["0.001", "0.003", "0.01", "Chosen"]
    shown = {row.variant: [str(cell) for cell in row.cells] for row in table.rows}
    assert shown["rotary"] == ["4.0000", "3.5000", "diverged", "0.003"]
    assert shown["alibi"] == ["4.0000", "3.7500", "3.2500", "0.01"]
    assert shown["none"] == ["4.0000", "3.5000", "not finished", "not yet"]
    assert [cell.best for cell in table.rows[0].cells] == [False, True, False, False]
    assert not any(cell.best for cell in table.rows[2].cells)
    assert "5 % of the training documents" in table.sentence
    assert "seed 9" in table.sentence


def test_an_edge_an_open_tuning_and_another_rate_are_said(tuned):
    config = tuned / "rotary" / "seed-0" / "config.yaml"
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | {"model": {"learning_rate": 0.5}}))
    (tuned / "tuning" / "alibi" / "lr-0.03" / "seed-9").mkdir(parents=True)
    troubles = TuningReport(load_comparison(tuned)).troubles()
    assert troubles == [
        ("rotary, seed 0", "trained with learning rate 0.5; the trials chose 0.003"),
        ("alibi", "the best learning rate, 0.01, is the largest tried: a better one may lie beyond"),
        ("none", "tuning has not ended (0.01 not finished); run the comparison again to go on"),
        ("tuning/alibi/lr-0.03/seed-9", "not in comparison.yaml and left out of this report"),
    ]


def test_the_picture_says_what_it_shows(tuned):
    (plot,) = TuningReport(load_comparison(tuned)).plots()
    assert plot.light.startswith(b"\x89PNG")
    assert plot.alt.startswith("Validation loss of the trials, in nats a token: rotary 4.000 at 0.001, 3.500 at 0.003;")
    assert "A cross at the top is a trial that diverged." in plot.caption


def test_both_forms_of_the_report_hold_it(tuned):
    document, page = write_report(tuned)
    for text in (page.read_text(), page.with_name("report.md").read_text()):
        for said in ("Learning rates", "3.7500", "is the largest tried", "Validation loss by learning rate"):
            assert said in text
    assert (page.parent / "tuning.png").is_file()
    rows = [json.loads(line) for line in (page.parent / "tuning.jsonl").read_text().splitlines()]
    assert [(row["variant"], row["learning_rate"], row["seed"]) for row in rows][:2] == [
        ("rotary", 0.001, 9),
        ("rotary", 0.003, 9),
    ]
    assert len(rows) == 7
    assert len(document.tables("Learning rates")[0].rows) == 3


def test_without_tuning_nothing_is_said(three_by_two):
    comparison = load_comparison(three_by_two)
    report = TuningReport(comparison)
    assert report.table() is None
    assert (report.plots(), report.troubles(), trial_rows(comparison)) == ([], [], [])


def test_what_was_collected_says_the_same(tuned, tmp_path):
    there, copied = load_comparison(tuned), load_comparison(collect(tuned, tmp_path / "results").folder)
    of_runs, collected = TuningReport(there), TuningReport(copied)
    assert trial_rows(copied) == trial_rows(there)
    assert collected.table() == of_runs.table()
    assert collected.troubles() == of_runs.troubles()
    assert len(trial_rows(there)) == 7
