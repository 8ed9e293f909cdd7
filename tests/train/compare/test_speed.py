"""Training speeds of a comparison's variants, timed in turn."""

import json

import pytest
from lmzoo.train.compare.speed import Trainee, measure
from lmzoo.train.fit.measure import in_turn, quartiles, seconds


def test_every_step_is_taken_once_a_round_in_changing_order():
    taken = []
    steps = {name: (lambda name=name: taken.append(name)) for name in "abc"}
    rounds = list(in_turn(steps, 6))
    assert all(set(one) == set("abc") and min(one.values()) >= 0 for one in rounds)
    orders = ["".join(taken[i : i + 3]) for i in range(0, 18, 3)]
    assert orders == ["abc", "acb", "cab", "cba", "bca", "bac"]


def test_each_of_two_steps_comes_first_in_half_of_the_rounds():
    taken = []
    steps = {name: (lambda name=name: taken.append(name)) for name in "ab"}
    assert len(list(in_turn(steps, 4))) == 4
    assert "".join(taken) == "abbabaab"


def test_seconds_are_those_of_the_clock(monkeypatch):
    clock = iter([10.0, 12.5])
    monkeypatch.setattr("lmzoo.train.fit.measure.time.perf_counter", lambda: next(clock))
    assert seconds(lambda: None) == 2.5
    assert quartiles([3.0]) == (3.0, 3.0)
    assert quartiles([4.0, 1.0, 3.0, 2.0, 5.0]) == (1.5, 4.5)


def test_ratios_are_taken_round_by_round(monkeypatch):
    # the machine is four times as slow in the last round: no ratio may see it
    base, own = [1.0, 1.0, 1.0, 1.0, 4.0], [9.0, 9.0, 2.0, 4.0, 8.0]
    rounds = [{"base": b, "own": o} for b, o in zip(base, own, strict=True)]
    monkeypatch.setattr("lmzoo.train.compare.speed.in_turn", lambda steps, n: iter(rounds[:n]))
    trainee = Trainee(lambda: None, 100, 0, "32-true")
    reference, row = measure({"base": trainee, "own": trainee}, "base", 3)
    assert (reference["to_baseline"], reference["tokens_per_second"]) == (1.0, 100.0)
    # two rounds warm up
    assert (row["to_baseline"], row["tokens_per_second"], row["rounds"]) == (0.5, 25.0, 3)
    assert (row["to_baseline_low"], row["to_baseline_high"]) == (0.25, 0.5)


@pytest.mark.slow
def test_from_runs_to_the_report(tiny, write, lmzoo, tmp_path):
    tiny["trainer"]["max_steps"] = 5
    decay = {"model": {"loss": "PowerLawDecay"}, "trainer": {"precision": "bf16-mixed"}}
    file = write(
        {"name": "two", "base": tiny, "variants": {"plain": None, "decay": decay}, "baseline": "plain", "seeds": [1]},
        "two.yaml",
    )
    output = tmp_path / "out"
    lmzoo("compare", file, "--output", output)
    weights = {p: p.read_bytes() for p in output.glob("*/seed-1/model.safetensors")}
    assert len(weights) == 2
    said = lmzoo("speed", output, "--rounds", "2", "--device", "cpu").stdout
    assert "decay" in said
    rows = [json.loads(line) for line in (output / "speed.jsonl").read_text().splitlines()]
    assert [(row["variant"], row["seed"], row["precision"]) for row in rows] == [
        ("plain", 1, "32-true"),
        ("decay", 1, "bf16-mixed"),
    ]
    assert all(row["tokens_per_second"] > 0 and row["environment"]["versions"] for row in rows)
    assert rows[0]["to_baseline"] == 1.0
    assert {p: p.read_bytes() for p in weights} == weights
    refused = lmzoo("speed", output, "--variants", "dekay", code=2)
    assert "nearest: decay" in refused.stderr
