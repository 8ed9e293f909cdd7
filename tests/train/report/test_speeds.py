"""What a report makes of speeds that were timed in turn."""

import json

import pytest
from lmzoo.train.report.costs import cost_table, costs_frame
from lmzoo.train.report.pareto import pareto_section
from lmzoo.train.runs.alike import like_groups, records_frame
from lmzoo.train.runs.load import load_comparison


@pytest.fixture
def timed(three_by_two):
    machine = {"device": "cpu", "environment": {"torch_threads": 1}}
    rows = [
        {"variant": "rotary", "tokens_per_second": 5000.0, "to_baseline": 1.0},
        {"variant": "alibi", "tokens_per_second": 4000.0, "to_baseline": 0.8},
    ]
    for row in rows:
        ratio = row["to_baseline"]
        row.update(baseline="rotary", to_baseline_low=ratio, to_baseline_high=ratio + 0.05, rounds=9, **machine)
    (three_by_two / "speed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return three_by_two


def test_the_report_takes_the_speeds_that_were_timed_in_turn(timed):
    comparison = load_comparison(timed)
    frame = costs_frame(comparison)
    assert set(frame.loc[frame["variant"] == "alibi", "tokens_per_second"]) == {4000.0}
    assert frame.loc[frame["variant"] == "none", "tokens_per_second"].isna().all()
    table = cost_table(comparison)
    cells = {row.variant: dict(zip(table.columns, row.cells, strict=True)) for row in table.rows}
    assert cells["alibi"]["Training tokens/s"].text == "4,000"
    assert (cells["alibi"]["to baseline"].text, cells["alibi"]["to baseline"].spread) == ("0.80×", "0.80 to 0.85")
    assert cells["none"]["to baseline"].text == "–"
    assert any("medians of 9 rounds on cpu with 1 threads" in note for note in table.notes)
    section = pareto_section(comparison, like_groups(records_frame(comparison.finished)))
    assert section.sentence.startswith("Speeds are of training steps timed in turn")
    (speed,) = (plot for plot in section.plots if plot.file == "quality-speed.png")
    assert "The line is the frontier: rotary and alibi;" in speed.caption
    assert "alibi" in speed.alt
    assert "none" not in speed.alt


def test_speeds_against_another_baseline_are_left_out(timed):
    comparison = load_comparison(timed)
    for row in comparison.speed:
        row["baseline"] = "alibi"
    assert set(costs_frame(comparison)["tokens_per_second"]) == {6400.0, 6500.0}
