import itertools
import struct

import matplotlib as mpl
import pandas as pd
import pytest
from lmzoo.train.figures.canvas import LIGHT, NARROW, WIDE, page_settings
from lmzoo.train.figures.labels import spread_apart
from lmzoo.train.report.curves import (
    curve_sets,
    loss_plots,
    mean_curve,
    point_plots,
    smoothing_window,
    train_frame,
    validation_frame,
)
from lmzoo.train.runs.alike import like_groups, records_frame
from lmzoo.train.runs.load import load_comparison
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def test_the_smoothed_curve_is_a_centred_mean(three_by_two):
    runs = load_comparison(three_by_two).runs
    assert smoothing_window(runs) == 3
    frame = train_frame(runs)
    own = frame[(frame["variant"] == "rotary") & (frame["seed"] == 0)].reset_index(drop=True)
    assert len(own) == 30
    assert own["smooth"][4] == pytest.approx(own["raw"][3:6].mean())
    assert own["smooth"][0] == pytest.approx(own["raw"][0:2].mean())


def test_the_mean_curve_is_of_the_seeds_that_came_to_the_end():
    early = [("a", 2, 1.0, 100.0)]
    rows = [("a", 0, 1.0, 4.0), ("a", 0, 2.0, 3.0), ("a", 1, 1.0, 6.0), ("a", 1, 2.0, 4.0)]
    frame = pd.DataFrame(rows + early, columns=["variant", "seed", "tokens", "smooth"])
    assert mean_curve(frame, "a").to_dict("list") == {
        "tokens": [1.0, 2.0],
        "smooth": [5.0, 3.5],
        "low": [4.0, 3.0],
        "high": [6.0, 4.0],
    }


def test_a_seed_that_stopped_early_is_said_to_be_outside_the_mean(make_comparison, make_run):
    output = make_comparison(["a"], [0, 1])
    make_run(output, "a", 0)
    make_run(output, "a", 1, state="failed", rows=10)
    training, _ = loss_plots(load_comparison(output))
    assert "both without seeds that stopped early, which are the thin lines." in training.caption
    assert training.light.startswith(b"\x89PNG")


def test_validation_curves_stand_against_training_tokens(three_by_two):
    frame = validation_frame(load_comparison(three_by_two).runs)
    assert sorted(frame["tokens"].unique()) == [20_480.0 * i for i in (6, 12, 18, 24, 30)]


def test_runs_of_unlike_tokenizers_never_share_axes(make_comparison, make_run):
    output = make_comparison(["a", "b"], [0, 1])
    make_run(output, "a", 0)
    make_run(output, "b", 0, passport={"tokenizer_sha256": "77" * 32})
    comparison = load_comparison(output)
    assert [[run.variant for run in one.runs] for one in curve_sets(comparison.runs)] == [["a"], ["b"]]
    assert [plot.file for plot in loss_plots(comparison)] == [
        "loss-training-1.png",
        "loss-validation-1.png",
        "loss-training-2.png",
        "loss-validation-2.png",
    ]


def test_an_unfinished_run_is_drawn_beside_the_finished_ones_of_the_same_data(make_comparison, make_run):
    output = make_comparison(["a", "b"], [0])
    make_run(output, "a", 0)
    make_run(output, "b", 0, state="unfinished", rows=4)
    sets = curve_sets(load_comparison(output).runs)
    assert [[run.variant for run in one.runs] for one in sets] == [["a", "b"]]


def test_plots_are_sharp_pngs_in_two_themes_with_figures_in_their_alt_text(three_by_two):
    comparison = load_comparison(three_by_two)
    plots = [*loss_plots(comparison), *point_plots(comparison, like_groups(records_frame(comparison.finished)))]
    assert [plot.file for plot in plots] == [
        "loss-training.png",
        "loss-validation.png",
        "points-validation.png",
        "points-test.png",
    ]
    for plot in plots:
        assert plot.light != plot.dark
        for png in (plot.light, plot.dark):
            assert png.startswith(b"\x89PNG")
            assert struct.unpack(">I", png[16:20])[0] == 1120
        assert struct.unpack(">I", plot.narrow_dark[16:20])[0] == 740
    assert "centred mean over 3 logged rows" in plots[0].caption
    assert plots[3].alt == "Token perplexity on test: rotary 165.7, alibi 153.0, none 196.4."


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_of_many_lines_three_are_named_and_all_have_room(make_comparison, make_run, width):
    names = [f"vq-{i}-classes-frequency" for i in range(31)]
    output = make_comparison(names, [0])
    for i, name in enumerate(names):
        make_run(output, name, 0, loss=5.0 + 0.01 * ((7 * i + 3) % 31), rows=6)
    training, validation = loss_plots(load_comparison(output))
    assert "Of 31 lines only the baseline, the best and the worst at the end are named" in training.caption
    with mpl.rc_context(page_settings(LIGHT)):
        figure = Figure(figsize=(width, validation.height), dpi=100, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        validation.draw(axes, LIGHT)
        canvas.draw()
    assert len(axes.get_lines()) == 31
    texts = [*axes.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    # (7 i + 3) mod 31 is lowest for 4 and highest for 26; the baseline is the first
    assert sorted(text.get_text() for text in texts) == sorted(names[i] for i in (0, 4, 26))
    assert axes.get_position().width > 0.5
    boxes = [text.get_window_extent() for text in texts]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_long_names_stand_below_a_narrow_picture(make_comparison, make_run):
    heights = []
    for names in (["a", "b", "c"], ["a", "b", "softplus-with-a-learned-power"]):
        output = make_comparison(names, [0], folder=str(len(heights)))
        for name in names:
            make_run(output, name, 0)
        _, validation = loss_plots(load_comparison(output))
        heights.append([struct.unpack(">I", png[20:24])[0] for png in (validation.light, validation.narrow_light)])
    # a wide one has names beside its lines whatever their length; below a narrow one they take a row each
    assert heights[0] == [720, 720]
    assert heights[1] == [720, pytest.approx(720 + 200 * (0.1 + 3 * 0.19), abs=1)]


def test_infinite_and_missing_figures_do_not_break_the_plots(make_comparison, make_run):
    output = make_comparison(["a", "b"], [0])
    make_run(output, "a", 0, changes={"token_perplexity": float("inf")})
    make_run(output, "b", 0, changes={"token_perplexity": None})
    comparison = load_comparison(output)
    plots = point_plots(comparison, like_groups(records_frame(comparison.finished)))
    assert plots[0].alt == "Token perplexity on validation: a ∞, b –."
    assert all(plot.light.startswith(b"\x89PNG") for plot in plots)


@pytest.mark.parametrize("places", [[1.0, 1.0, 1.0], [0.0, 0.1, 5.0], [9.9, 10.0], [0.0, 2.0, 2.1, 2.2, 9.0]])
def test_labels_are_moved_apart_and_keep_their_order(places):
    spread = spread_apart(places, 0.5, 0.0, 10.0)
    gaps = [b - a for a, b in itertools.pairwise(spread)]
    assert min(gaps) >= 0.5 - 1e-9
    assert spread[0] >= 0
    assert spread[-1] <= 10


def test_labels_that_do_not_touch_stay_where_they_are():
    assert spread_apart([1.0, 3.0], 0.5, 0.0, 10.0) == [1.0, 3.0]


def test_every_variant_has_a_stroke_and_colour_of_its_own():
    names = [f"v{i}" for i in range(20)]
    styles = LIGHT.styles(names, "v3")
    assert styles["v3"] == (LIGHT.ink, "-")
    assert len(set(map(str, styles.values()))) == 20
