"""What the table of costs says of matched budgets."""

import pytest
import yaml
from lmzoo.train.report.costs import cost_table
from lmzoo.train.runs.load import load_comparison


@pytest.fixture
def matched(make_comparison, make_run):
    """A folder whose ``other`` has 1 % more parameters in all and in the body than ``base``, and 2 % more FLOPs."""

    def make(**match):
        output = make_comparison(["base", "other"], [0, 1])
        asked = yaml.safe_load((output / "comparison.yaml").read_text())
        (output / "comparison.yaml").write_text(yaml.safe_dump(asked | ({"match": match} if match else {})))
        for name, total, body, flops, width in (("base", 1000, 500, 6000.0, 64), ("other", 1010, 505, 6120.0, 71)):
            results = {
                "parameters": {"total": total, "embedding": 400, "head": total - body - 400, "other": body},
                "flops_per_token": flops,
                "body_flops_per_token": flops - 3000,
                "sizes": {"feed_forward": width, "depth": 3},
            }
            for seed in (0, 1):
                make_run(output, name, seed, results=results)
        return cost_table(load_comparison(output))

    return make


def cells(table, variant: str) -> dict[str, str]:
    row = next(row for row in table.rows if row.variant == variant)
    return dict(zip(table.columns, map(str, row.cells), strict=True))


@pytest.mark.parametrize(
    ("match", "title", "size", "residue", "said"),
    [
        ({"budget": "parameters"}, "Feed-forward width", "71", "+1.000 %", "Matched: parameters. "),
        ({"budget": "parameters", "of": "body"}, "Feed-forward width", "71", "+1.000 %", "parameters of the body"),
        ({"budget": "flops"}, "Feed-forward width", "71", "+2.000 %", "equal FLOPs are not equal time"),
        ({"budget": "flops", "of": "body", "by": "depth"}, "Layers", "3", "+4.000 %", "layers was solved for"),
    ],
)
def test_what_was_matched_the_size_and_the_residue(matched, match, title, size, residue, said):
    table = matched(**match)
    assert (cells(table, "other")[title], cells(table, "other")["Residue"]) == (size, residue)
    assert cells(table, "base")["Residue"] == "–"
    assert said in " ".join(table.notes)


def test_parameters_stand_apart(matched):
    table = matched(budget="parameters")
    assert [cells(table, "other")[k] for k in ("Parameters", "embedding", "body", "head")] == [
        "1.01 k",
        "400",
        "505",
        "105",
    ]


def test_without_matching_there_is_no_such_column(matched):
    table = matched()
    assert "Residue" not in table.columns
    assert not any("Matched" in note for note in table.notes)


def test_a_baseline_that_is_not_finished_leaves_the_residue_open(make_comparison, make_run):
    output = make_comparison(["base", "other"], [0])
    asked = yaml.safe_load((output / "comparison.yaml").read_text())
    (output / "comparison.yaml").write_text(yaml.safe_dump(asked | {"match": {"budget": "parameters"}}))
    make_run(output, "base", 0, state="failed")
    make_run(output, "other", 0)
    row = cells(cost_table(load_comparison(output)), "other")
    assert (row["Feed-forward width"], row["Residue"]) == ("–", "–"), "runs of before said nothing of their width"
