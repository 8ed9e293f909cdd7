"""Sizes at which variants cost what the baseline costs, against trying them all."""

import random

import pytest
import torch
from lmzoo.errors import ArgumentError, ConfigError
from lmzoo.models import count
from lmzoo.train.compare.command import compare
from lmzoo.train.compare.comparison import read_comparison
from lmzoo.train.fit.lightning_cli import TrainingCLI, check
from lmzoo.train.runs.matching import Matching, OutOfReach, nearest_size
from torch import nn

LSSAR = {"class_path": "SoftplusAttention", "init_args": {"learned_scale": True, "learned_power": True}}


@pytest.fixture
def comparison(tiny) -> dict:
    tiny["model"]["d_model"] = 32
    return {
        "name": "matched",
        "base": tiny,
        "variants": {
            "rotary": None,
            "complex": {"model": {"position": None, "attention": "ComplexAttention"}},
            "lssar": {"model": {"attention": LSSAR, "feed_forward": {"class_path": "FeedForward"}}},
            "untied": {"model": {"head": {"class_path": "LinearHead", "init_args": {"tied": False}}}},
        },
        "baseline": "rotary",
        "seeds": [0, 1],
    }


def counted(config: dict, match) -> float:
    """The cost of a planned run, from its configuration alone."""
    cli = TrainingCLI("fit", [], config=config)
    return match.cost(cli.model.counts, cli.datamodule.context_length)


def test_the_nearest_size_is_that_of_trying_all():
    draw = random.Random(0)
    for _ in range(200):
        fixed, step, width = draw.randint(0, 50), draw.randint(1, 40), draw.choice([1, 1, 4])

        def cost(n: int, fixed: int = fixed, step: int = step, width: int = width) -> float:
            return float(fixed + step * -(-n // width))

        target = float(draw.randint(fixed + step, 2000))
        best = min(abs(cost(n) - target) for n in range(1, 8200))
        assert abs(cost(nearest_size(cost, target)) - target) == best


def test_of_two_equally_near_sizes_the_smaller():
    assert nearest_size(lambda n: 10.0 * n, 45.0) == 4
    assert nearest_size(lambda n: 10.0 * n, 46.0) == 5
    assert nearest_size(lambda n: 10.0 * n, 10.0) == 1


def test_no_size_is_small_enough_or_large_enough():
    with pytest.raises(OutOfReach) as caught:
        nearest_size(lambda n: 10.0 * n, 9.0)
    assert caught.value.cost == 10
    with pytest.raises(ArgumentError, match="a size that the cost grows with"):
        nearest_size(lambda n: 10.0, 900.0)


@pytest.mark.parametrize("budget", ["parameters", "flops"])
@pytest.mark.parametrize(("of", "by", "key"), [("total", "feed_forward", "hidden"), ("body", "depth", "n_layers")])
def test_the_solved_size_is_the_best_of_all(comparison, write, budget, of, by, key):
    del comparison["variants"]["untied"]  # a second vocabulary is more than a feed-forward layer can make up for
    comparison["base"]["model"]["n_layers"] = 5 if by == "depth" else 2
    read = read_comparison(write(comparison | {"match": {"budget": budget, "of": of, "by": by}}))
    target = counted(read.plan("rotary", 0).config, read.match)
    for variant in ("complex", "lssar"):
        planned = read.plan(variant, 0).config
        cli = TrainingCLI("fit", [], config=planned)
        inner = planned["model"] if by == "depth" else planned["model"]["feed_forward"]["init_args"]
        costs = {}
        for n in range(1, 12 if by == "depth" else 300):
            parts = {**cli.model.parts}
            if by == "depth":
                parts["n_layers"] = n
            else:
                name = planned["model"]["feed_forward"]["class_path"].rpartition(".")[2]
                parts["feed_forward"] = {"class_path": name, "init_args": {"hidden": n}}
            costs[n] = read.match.cost(count(cli.model.vocab_size, **parts), cli.datamodule.context_length)
        best = min(costs, key=lambda n: (abs(costs[n] - target), n))
        assert inner[key] == best
        assert counted(planned, read.match) == costs[best]


def test_parameters_by_hand(comparison, write):
    read = read_comparison(write(comparison | {"match": "parameters"}))
    # SwiGLU's 3 d h at h = ceil(8 * 32 / 48) * 16 = 96 are 9216 a layer; the plain layer has 2 d h, so that 144 would
    # be equal, and the two learned numbers of each of the 2 heads cost less than half a unit of width, 2 d = 64
    assert read.plan("lssar", 0).config["model"]["feed_forward"]["init_args"]["hidden"] == 144
    # 8 phases a head and 8 biases, 32 numbers a layer of the 96 that a unit of width holds
    assert read.plan("complex", 0).config["model"]["feed_forward"]["init_args"]["hidden"] == 96
    # the head's own 270 * 32 over two layers are 45 units of 96
    assert read.plan("untied", 0).config["model"]["feed_forward"]["init_args"]["hidden"] == 96 - 45
    assert read.plan("rotary", 0).config["model"]["feed_forward"]["init_args"]["hidden"] is None


def test_of_the_body_a_head_costs_nothing(comparison, write):
    for budget in ("parameters", "flops"):
        read = read_comparison(write(comparison | {"match": {"budget": budget, "of": "body"}}))
        assert read.plan("untied", 0).config["model"]["feed_forward"]["init_args"]["hidden"] == 96


def test_a_planned_run_stands_alone_and_is_found_again(comparison, write, tmp_path):
    read = read_comparison(write(comparison | {"match": "parameters"}), output=tmp_path / "out")
    planned = read.plan("lssar", 1)
    assert check(planned.config) == planned.config
    stored = read.as_yaml()
    assert stored["match"] == {"budget": "parameters", "of": "total", "by": "feed_forward"}
    assert stored["variants"]["lssar"]["model"]["feed_forward"] == {"class_path": "FeedForward"}
    again = read_comparison(write(stored, "again.yaml"), output=tmp_path / "out")
    assert again.plan("lssar", 1).config == planned.config
    planned.folder.mkdir(parents=True)
    write(planned.config, str(planned.folder / "config.yaml"))
    again.refuse_other_runs()
    unmatched = read_comparison(write(comparison), output=tmp_path / "out")
    with pytest.raises(
        ConfigError, match=r"lssar/seed-1 holds a run .*differs in model\.feed_forward\.init_args\.hidd"
    ):
        unmatched.refuse_other_runs()


def test_matched_variants_of_a_seed_see_the_same_batches(comparison, write):
    read = read_comparison(write(comparison | {"match": "flops"}))
    seen = []
    for variant, seed in (("rotary", 1), ("lssar", 1), ("lssar", 0)):
        config = read.plan(variant, seed).config
        data = TrainingCLI("fit", [], config=config).datamodule
        data.setup("fit")
        batches = [batch["input_ids"] for batch in data.train_dataloader()]
        seen.append(torch.stack(batches))
        assert config["trainer"] == read.plan("rotary", 0).config["trainer"]
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])


@pytest.mark.parametrize(
    ("match", "own"),
    [
        ("parameters", {"feed_forward": {"init_args": {"hidden": 9}}}),
        ({"budget": "flops", "by": "depth"}, {"n_layers": 3}),
    ],
)
def test_a_variant_cannot_have_a_size_of_its_own(comparison, write, match, own):
    comparison["match"] = match
    comparison["variants"]["rotary"] = {"model": own}
    read_comparison(write(comparison))  # the baseline may: it is what the others are matched with
    comparison["variants"]["complex"]["model"] |= own
    with pytest.raises(ConfigError, match=r"variants\.complex\.model\..*solves for it.*a variant cannot set it too"):
        read_comparison(write(comparison))
    del comparison["variants"]["complex"]
    with pytest.raises(ConfigError, match=r"command line: model\..*--set cannot set it too"):
        read_comparison(write(comparison), settings={"model": own})


def test_a_baseline_that_is_too_small_is_named_with_the_figures(comparison, write, tmp_path):
    comparison["variants"]["rotary"] = {"model": {"feed_forward": {"init_args": {"hidden": 8}}}}
    with pytest.raises(ConfigError) as caught:
        compare(write(comparison | {"match": "parameters"}), output=tmp_path / "out")
    # 270 * 32 of the vocabulary twice or once, 4 d^2 and the norms of two layers, the last norm, width 1 or 8
    body = 2 * (4 * 32 * 32 + 2 * 32) + 32
    figures = f"width of 1 it has {2 * 8640 + body + 2 * 96:,} parameters, and the baseline rotary has "
    assert f"variant untied: match: cannot be matched: with a feed-forward {figures}" in str(caught.value)
    assert f"{8640 + body + 2 * 8 * 96:,}" in str(caught.value)
    assert not (tmp_path / "out").exists()


class Fixed(nn.Module):
    """A feed-forward layer that has no width to choose."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.output = nn.Linear(d_model, d_model)


def test_a_feed_forward_part_without_a_width_can_be_matched_by_depth(tiny):
    model = TrainingCLI("fit", [], config=tiny | {"model": tiny["model"] | {"d_model": 32}}).model
    model.parts["feed_forward"] = Fixed
    with pytest.raises(ArgumentError, match=r"by: depth, since Fixed takes no width 'hidden'"):
        Matching().solve(model.parts, model.vocab_size, 16, 1e5)
    layer = 4 * 32 * 32 + 32 * 33 + 2 * 32
    assert Matching(by="depth").solve(model.parts, model.vocab_size, 16, 8640 + 32 + 7 * layer + 5) == {
        "model": {"n_layers": 7}
    }
