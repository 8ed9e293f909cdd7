import pandas as pd
from lmzoo.train.figures.table import Cell, figure_cells, table_of


def test_mean_spread_and_the_best_over_the_seeds_that_all_have():
    figures = {"a": pd.Series({0: 1.0, 1: 3.0}), "b": pd.Series({0: 2.0, 1: 2.5, 2: 0.0})}
    # over the seeds 0 and 1 the means are 2 and 2.25, though b's over all of its own is 1.5
    assert figure_cells(figures, 2, "lower") == {
        "a": Cell("2.00", "± 1.41", best=True),
        "b": Cell("1.50", "± 1.32"),
    }
    assert [cell.best for cell in figure_cells(figures, 2, "higher").values()] == [False, True]
    assert not any(cell.best for cell in figure_cells(figures, 2).values())


def test_a_single_seed_has_no_spread():
    figures = {"a": pd.Series({0: 0.25}), "b": pd.Series({0: 0.5, 1: 0.5})}
    assert figure_cells(figures, 1, factor=100.0) == {"a": Cell("25.0", "n=1"), "b": Cell("50.0", "± 0.0")}
    assert figure_cells(figures, 1, alone=lambda name: f"[{name}]")["a"] == Cell("0.2", "[a]")


def test_a_variant_without_a_cell_has_a_dash():
    table = table_of("t", ["a", "b"], "b", [("x", {"a": Cell("1")}), ("y", {"b": Cell("2")})])
    assert table.columns == ["x", "y"]
    assert [(row.variant, row.baseline, [str(cell) for cell in row.cells]) for row in table.rows] == [
        ("a", False, ["1", "–"]),
        ("b", True, ["–", "2"]),
    ]
    assert table.column("y") == {"a": Cell("–"), "b": Cell("2")}
