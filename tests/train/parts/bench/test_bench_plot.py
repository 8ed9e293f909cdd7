import json

import matplotlib.image
import pytest
from lmzoo.errors import ArgumentError
from lmzoo.train.figures.canvas import DARK, LIGHT
from lmzoo.train.parts.bench import command as bench
from lmzoo.train.parts.bench import plot as bench_plot
from lmzoo.train.parts.bench.plot import caption, draw_costs


def costs(lengths=(256, 512, 1024), dense_up_to=512):
    """Records as of layers that take T and T^2, in round numbers."""
    records = []
    for length in lengths:
        for i, name in enumerate(("softmax", "complex", "softplus", "softplus-dense")):
            if name == "softplus-dense" and length > dense_up_to:
                continue
            seconds = (i + 1) * 1e-6 * length
            records.append(
                {
                    "attention": name,
                    "length": length,
                    "seconds": seconds,
                    "low": 0.9 * seconds,
                    "high": 1.2 * seconds,
                    "runs": 3,
                    "bytes": (i + 1) * 1000 * length,
                    "device": "cpu",
                    "processor": "x86_64",
                    "cores": 8,
                    "threads": 2,
                    "torch": "2.13.0",
                }
            )
    return records


def test_the_picture_shows_a_line_of_every_layer_on_both_sides(tmp_path):
    for theme in (LIGHT, DARK):
        file = tmp_path / f"{theme.name}.png"
        file.write_bytes(draw_costs(costs(), theme))
        pixels = (matplotlib.image.imread(file)[..., :3] * 255).round().astype(int)
        middle = pixels.shape[1] // 2
        for colour in (theme.ink, *theme.palette[:3]):
            wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
            drawn = (abs(pixels - wanted) <= 2).all(axis=-1)[pixels.shape[0] // 6 :]  # below the legend
            assert drawn[:, :middle].sum() > 500
            assert drawn[:, middle:].sum() > 500


def test_the_same_records_give_the_same_bytes():
    assert draw_costs(costs()) == draw_costs(costs())
    slower = [{**r, "seconds": 1.1 * r["seconds"]} if r["attention"] == "complex" else r for r in costs()]
    assert draw_costs(costs()) != draw_costs(slower)


def test_the_caption_says_what_was_measured_on_what():
    text = caption(costs())
    assert "median of 3" in text
    assert "cpu: x86_64, 8 cores, 2 of them used, torch 2.13.0." in text
    assert "fits into memory up to T 512" in text
    assert "fits into memory" not in caption(costs(dense_up_to=1024))
    assert "no point" not in text
    assert "no point" in caption([{**costs()[0], "bytes": 0}, *costs()[1:]])


@pytest.mark.parametrize("lengths", ["256,512,1024", "[256,512,1024]", "[256, 512, 1024]"])
def test_the_command_writes_picture_and_data_and_runs_no_other_benchmark(tmp_path, monkeypatch, lengths):
    asked = []

    def measured(*arguments):
        asked.append(arguments)
        return costs()

    monkeypatch.setattr(bench_plot, "attention_costs", measured)
    monkeypatch.setattr(bench, "BENCHMARKS", {})
    file = tmp_path / "new" / "costs.png"
    words = ["--plot", str(file), "--lengths", lengths, "--device", "cpu"]
    assert bench.main(words) == 0
    assert asked == [([256, 512, 1024], "cpu", 5)]
    assert file.read_bytes() == draw_costs(costs())
    assert [json.loads(line) for line in file.with_suffix(".jsonl").read_text().splitlines()] == costs()
    assert sorted(f.name for f in file.parent.iterdir()) == ["costs.jsonl", "costs.png"]


def test_a_name_that_is_no_png_is_refused_before_anything_is_measured(monkeypatch):
    monkeypatch.setattr(bench_plot, "attention_costs", lambda *_: pytest.fail("measured"))
    with pytest.raises(ArgumentError, match="png"):
        bench.main(["--plot", "costs.pdf"])
