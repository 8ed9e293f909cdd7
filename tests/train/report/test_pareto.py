import itertools
import math
import random

import pytest
from lmzoo.train.figures.labels import place_labels
from lmzoo.train.report.pareto import Point, frontier, loss_unit, pareto_section, points
from lmzoo.train.runs.alike import like_groups, records_frame
from lmzoo.train.runs.load import load_comparison


def of(output):
    comparison = load_comparison(output)
    return comparison, like_groups(records_frame(comparison.finished))


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_the_frontier_is_what_no_other_point_beats(better):
    random_numbers = random.Random(5)
    sign = 1 if better == "lower" else -1
    for _ in range(50):
        # few values, so that there are ties in one figure and in both
        found = [Point(f"v{i}", random_numbers.randrange(4), random_numbers.randrange(4)) for i in range(8)]
        beaten = {
            one.variant
            for one, other in itertools.permutations(found, 2)
            if sign * other.cost <= sign * one.cost
            and other.loss <= one.loss
            and (other.cost, other.loss) != (one.cost, one.loss)
        }
        kept = frontier(found, better)
        assert {point.variant for point in kept} == {point.variant for point in found} - beaten
        assert [sign * point.cost for point in kept] == sorted(sign * point.cost for point in kept)


def test_a_point_is_the_mean_over_seeds_of_loss_and_cost(three_by_two):
    comparison, groups = of(three_by_two)
    assert groups[-1].split == "test"
    assert loss_unit(groups[-1]) == "nats per token"
    rotary, alibi, none = points(comparison, groups[-1], "tokens_per_second")
    assert (rotary.variant, alibi.variant, none.variant) == ("rotary", "alibi", "none")
    assert rotary.loss == pytest.approx((5.1 + 5.12) / 2, abs=1e-12)
    assert rotary.cost == 6450.0
    assert rotary.seeds == ((6400.0, pytest.approx(5.1)), (6500.0, pytest.approx(5.12)))


def test_runs_without_a_figure_are_left_out(make_comparison, make_run):
    output = make_comparison(["a", "b", "c"], [0])
    make_run(output, "a", 0)
    make_run(output, "b", 0, results={"peak_memory_mb": None})
    make_run(output, "c", 0, changes={"token_perplexity": float("inf")})
    comparison, groups = of(output)
    assert [point.variant for point in points(comparison, groups[-1], "peak_memory_mb")] == ["a"]
    assert [plot.file for plot in pareto_section(comparison, groups).plots] == ["quality-speed.png"]
    assert pareto_section(comparison, []).empty


def test_unlike_tokenizers_are_compared_by_bytes(make_comparison, make_run):
    output = make_comparison(["a", "b"], [0])
    make_run(output, "a", 0)
    make_run(output, "b", 0, passport={"tokenizer_sha256": "77" * 32})
    comparison, groups = of(output)
    assert loss_unit(groups[-1]) == "bits per byte"
    first, _ = points(comparison, groups[-1], "tokens_per_second")
    assert first.loss == pytest.approx(5.1 * 20_000 / (math.log(2) * 80_000))


def test_the_pictures_name_the_frontier_and_say_that_they_are_no_benchmark(three_by_two):
    speed, memory = (section := pareto_section(*of(three_by_two))).plots
    assert (speed.file, memory.file) == ("quality-speed.png", "quality-memory.png")
    assert section.sentence.startswith("No benchmark: speed and memory were measured in one process after another")
    assert "No frontier is drawn: machine load shows in these speeds" in speed.caption
    assert "The line is the frontier: alibi;" in memory.caption
    assert "Large dots are means, small ones seeds." in speed.caption
    assert "alibi 5.030 at 6.45 k" in speed.alt


def test_figures_that_do_not_compare_are_not_drawn(make_comparison, make_run):
    output = make_comparison(["a", "b"], [0])
    make_run(output, "a", 0)
    folder = make_run(output, "b", 0, results={"peak_memory_is": "CUDA"})
    section = pareto_section(*of(output))
    assert [plot.file for plot in section.plots] == ["quality-speed.png"]
    assert "the runs measured different things (CUDA; resident memory of the process)" in section.sentence
    environment = folder / "environment.json"
    environment.write_text(environment.read_text().replace('"cores": 2', '"cores": 64'))
    assert pareto_section(*of(output)).empty


@pytest.mark.parametrize("spread", [1.0, 30.0, 200.0])
def test_names_cover_neither_each_other_nor_a_point(spread):
    random_numbers = random.Random(3)
    points_of = [
        (150 + spread * random_numbers.uniform(-0.5, 0.5), 110 + spread * random_numbers.uniform(-0.5, 0.5))
        for _ in range(12)
    ]
    sizes = [(random_numbers.uniform(20, 110), 12.0) for _ in points_of]
    bounds = (0.0, 0.0, 300.0, 220.0)
    boxes = place_labels(points_of, sizes, bounds)
    for one, other in itertools.combinations(boxes, 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    for left, bottom, right, top in boxes:
        assert left >= 0
        assert bottom >= 0
        assert right <= 300
        assert top <= 220
        assert not any(left < x < right and bottom < y < top for x, y in points_of)
    assert [(b[2] - b[0], b[3] - b[1]) for b in boxes] == [pytest.approx(size) for size in sizes]


def test_a_lone_name_stands_beside_its_point():
    ((left, bottom, _, top),) = place_labels([(50.0, 50.0)], [(40.0, 12.0)], (0.0, 0.0, 300.0, 200.0))
    assert 50 < left < 60
    assert (bottom + top) / 2 == pytest.approx(50.0)
