"""Reading comparison files, and what is refused."""

import json

import pytest
import yaml
from lmzoo.errors import ConfigError
from lmzoo.train.cli import main as lmzoo_main
from lmzoo.train.compare.command import compare, main
from lmzoo.train.compare.comparison import output_of, read_comparison
from lmzoo.train.config import load_yaml
from lmzoo.train.evaluate.analyze.run import AnalysisSettings
from lmzoo.train.fit.lightning_cli import TrainingCLI


@pytest.fixture
def comparison(tiny) -> dict:
    return {
        "name": "positions",
        "base": tiny,
        "variants": {"rotary": None, "alibi": {"model": {"position": "ALiBi"}}},
        "baseline": "rotary",
        "seeds": [0, 1],
    }


def test_a_run_is_base_then_overrides_then_variant_then_command_line(comparison, write):
    comparison["overrides"] = {"model": {"d_model": 32, "dropout": 0.1}}
    comparison["variants"]["alibi"]["model"]["d_model"] = 48
    read = read_comparison(write(comparison), settings={"model": {"dropout": 0.2}})
    rotary, alibi = read.plan("rotary", 7), read.plan("alibi", 7)
    assert (rotary.config["model"]["d_model"], alibi.config["model"]["d_model"]) == (32, 48)
    assert rotary.config["model"]["dropout"] == alibi.config["model"]["dropout"] == 0.2
    assert alibi.config["model"]["position"]["class_path"].endswith("ALiBi")
    assert rotary.config["seed_everything"] == alibi.config["seed_everything"] == 7
    assert rotary.folder == read.output / "rotary" / "seed-7"
    assert rotary.steps == 12


def test_the_base_is_found_beside_the_file(comparison, tiny, write, tmp_path):
    write(tiny, "base.yaml")
    comparison["base"] = "base.yaml"
    assert read_comparison(write(comparison)).plan("alibi", 0).config["model"]["d_model"] == 16


def test_what_is_written_down_stands_alone_and_means_the_same(comparison, write, tiny):
    write(tiny, "base.yaml")
    comparison |= {"base": "base.yaml", "overrides": {"model": {"dropout": 0.1}}}
    read = read_comparison(write(comparison), settings={"model": {"n_heads": 1}})
    again = read_comparison(write(read.as_yaml(), "elsewhere.yaml"))
    for variant in read.variants:
        assert again.plan(variant, 1).config == read.plan(variant, 1).config


def test_a_checked_configuration_stays_as_it_is_when_checked_again(comparison, write):
    config = read_comparison(write(comparison)).plan("alibi", 1).config
    comparison |= {"base": config, "variants": {"same": None}, "baseline": "same"}
    assert read_comparison(write(comparison)).plan("same", 1).config == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variant": {}}, "variant: unknown key; nearest valid keys: variants"),
        ({"lengths": [128, 0]}, "lengths: expected a list of different whole numbers, 1 or more, got [128, 0]"),
        ({"lengths": 128}, "lengths: expected a list"),
        ({"effect": 1}, "effect: expected a relative difference of perplexity between 0 and 1, such as 0.01, got 1"),
        ({"effect": "1 %"}, "effect: expected a relative difference"),
        ({"match": "flop"}, "match: expected none, parameters, flops or a mapping"),
        ({"match": "flop"}, "got 'flop'; nearest: flops"),
        ({"match": {"of": "body"}}, "or a mapping with budget, of and by, got {'of': 'body'}"),
        ({"match": {"budget": "flops", "off": "body"}}, "match.off: unknown key; nearest valid keys: of"),
        ({"match": {"budget": "flops", "by": "width"}}, "match.by: expected one of feed_forward, depth, got 'width'"),
        ({"tuning": {"learning_rates": [0.1]}}, "tuning.learning_rates: expected a list of at least two different"),
        ({"tuning": {"learning_rates": [0.1, 0.1]}}, "tuning.learning_rates: expected a list of at least two"),
        ({"tuning": {"learning_rates": [0.1, -0.1]}}, "tuning.learning_rates: expected a list of at least two"),
        ({"tuning": {"learning_rates": 0.1}}, "tuning.learning_rates: expected a list of at least two"),
        ({"tuning": {"fraction": 1.0}}, "tuning.fraction: expected a share of the training documents, between 0 and 1"),
        ({"tuning": {"seed": 1}}, "tuning.seed: expected a seed that no final run has, got 1"),
        ({"tuning": {"max_steps": 0}}, "tuning.max_steps: expected an integer of at least 1, got 0"),
        ({"variants": {"tuning": None}}, "and not 'report' or 'tuning'"),
        ({"baseline": "rotory"}, "baseline: no variant is called 'rotory'; nearest: rotary"),
        ({"baseline": None}, "baseline: expected one of the variants: rotary, alibi"),
        ({"variants": {}}, "variants: expected at least one variant"),
        ({"variants": {"../up": None}}, "variants.../up: a variant's name becomes a folder"),
        ({"variants": {"report": None}}, "and not 'report'"),
        ({"variants": {False: None}}, "put it in quotes"),
        ({"variants": {"rotary": 3}}, "variants.rotary: expected a mapping of keys to values, got 3"),
        ({"seeds": [0, 0]}, "seeds: expected a list of different whole numbers, 0 or more"),
        ({"seeds": []}, "seeds: expected a list"),
        ({"seeds": [True]}, "seeds: expected a list"),
        ({"seeds": 3}, "seeds: expected a list"),
        ({"analyze": 3}, "analyze: expected true, false or a mapping of settings, got 3"),
        ({"analyze": {"promts": 8}}, "analyze.promts: unknown key; nearest valid keys: prompts"),
        ({"analyze": {"split": "dev"}}, "analyze.split: expected validation or test, got 'dev'"),
        ({"base": "nowhere.yaml"}, "no such file"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(comparison, write, change, message):
    with pytest.raises(ConfigError) as caught:
        read_comparison(write(comparison | change))
    assert message in str(caught.value)
    if "no such file" not in message:
        assert "config.yaml:" in str(caught.value)


def test_every_variant_is_checked_before_a_run_starts(comparison, write, tmp_path):
    comparison["variants"]["broken"] = {"model": {"positon": "ALiBi"}}
    with pytest.raises(ConfigError, match=r"variant broken.*positon.*unknown key.*position"):
        compare(write(comparison), output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_runs_is_refused(comparison, write, tmp_path):
    read = read_comparison(write(comparison), output=tmp_path / "out")
    run = read.plan("alibi", 5)
    run.folder.mkdir(parents=True)
    (run.folder / "config.yaml").write_text(yaml.safe_dump(run.config))
    read.refuse_other_runs()
    (run.folder / "config.yaml").write_text(yaml.safe_dump(run.config | {"checkpoint_every_n_steps": 7}))
    read.refuse_other_runs()
    run.config["model"]["d_model"] = 32
    (run.folder / "config.yaml").write_text(yaml.safe_dump(run.config))
    with pytest.raises(ConfigError, match=r"alibi/seed-5 holds a run .*differs in model\.d_model.*another --output"):
        compare(write(comparison), output=tmp_path / "out")
    assert load_yaml(run.folder / "config.yaml")["model"]["d_model"] == 32


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--variants", "alibbi"], "--variants: no variant is called 'alibbi'; nearest: alibi"),
        (["--set", "model.d_model"], "--set: expected KEY=VALUE"),
        (["--set", "model.d_mdel=3"], "unknown key; nearest valid keys: d_model"),
        (["--seeds", "-1"], "seeds: expected a list"),
        (
            ["--seeds", "x"],
            "command line: --seeds: expected whole numbers with commas between them, such as 0,1,2, got 'x'",
        ),
        (["--seeds", "0,,1"], "--seeds: expected whole numbers"),
        (
            ["--set", "model.position={"],
            "command line: --set: expected a value as in YAML after model.position=, got '{'",
        ),
        (["--set", "model.d_model=2024-02-31"], "--set: expected a value as in YAML"),
    ],
)
def test_a_wrong_command_line_is_refused(comparison, write, tmp_path, words, message):
    with pytest.raises(ConfigError) as caught:
        main([str(write(comparison)), "--output", str(tmp_path / "out"), *words])
    assert message in str(caught.value)


@pytest.mark.parametrize("words", [["--set", "model.position={"], ["--seeds", "x"]])
def test_a_wrong_command_line_ends_with_exit_code_2(comparison, write, capsys, words):
    assert lmzoo_main(["compare", str(write(comparison)), *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: command line: --se")
    assert words[1].rpartition("=")[2] in said


@pytest.mark.parametrize(("words", "seeds"), [("0,1", [0, 1]), ("3", [3]), ("[4, 5]", [4, 5])])
def test_seeds_of_the_command_line(comparison, write, tmp_path, monkeypatch, words, seeds):
    asked = []
    monkeypatch.setattr(
        "lmzoo.train.compare.command.run_all", lambda runs, *_, **__: asked.extend(run.seed for run in runs) or []
    )
    assert (
        main([str(write(comparison)), "--output", str(tmp_path / "out"), "--seeds", words, "--variants", "alibi"]) == 0
    )
    assert asked == seeds


def test_a_start_that_is_not_there_stops_only_the_variants_that_want_it(comparison, write, tmp_path, monkeypatch):
    comparison["variants"]["alibi"]["init_from"] = "runs/nowhere/seed-{seed}"
    asked = []
    monkeypatch.setattr(
        "lmzoo.train.compare.command.run_all",
        lambda runs, *_, **__: asked.extend((r.variant, r.seed) for r in runs) or [],
    )
    words = [str(write(comparison)), "--output", str(tmp_path / "out"), "--seeds", "0,1"]
    assert main([*words, "--variants", "rotary"]) == 0
    assert asked == [("rotary", 0), ("rotary", 1)]
    with pytest.raises(ConfigError, match="init_from: expected the folder of a finished run"):
        main([*words, "--variants", "rotary,alibi"])
    comparison["variants"]["alibi"] = {"model": {"n_heads": 3}}  # a mistake is found at once, chosen or not
    with pytest.raises(ConfigError, match="n_heads"):
        main([str(write(comparison)), "--output", str(tmp_path / "more"), "--variants", "rotary"])


def test_every_seed_goes_on_from_the_model_of_its_own(comparison, write, monkeypatch):
    comparison["overrides"] = {"init_from": "runs/first/seed-{seed}"}
    comparison["variants"]["alibi"]["init_from"] = "runs/{seed}/alibi-{seed}"
    read = read_comparison(write(comparison))
    assert read.as_yaml()["base"]["init_from"] == "runs/first/seed-{seed}"
    starts = []
    monkeypatch.setattr(TrainingCLI, "__init__", lambda self, *_, config, **__: starts.append(config["init_from"]))
    monkeypatch.setattr(TrainingCLI, "resolved", lambda self: {})
    for variant, seed in (("rotary", 0), ("rotary", 12), ("alibi", 3)):
        read.plan(variant, seed)
    assert starts == ["runs/first/seed-0", "runs/first/seed-12", "runs/3/alibi-3"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"overrides": {"init_from": "runs/{sed}"}}, "overrides.init_from: expected a folder, in which {seed} stands"),
        ({"overrides": {"init_from": "runs/one"}, "tuning": True}, "overrides.init_from: expected null where there is"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(comparison, write, change, message):
    with pytest.raises(ConfigError) as caught:
        read_comparison(write(comparison | change))
    assert message in str(caught.value)
    comparison["variants"]["alibi"] |= {"init_from": change["overrides"]["init_from"]}
    with pytest.raises(ConfigError, match=r"config.yaml:\d+: variants.alibi.init_from: expected"):
        read_comparison(write(comparison | {key: value for key, value in change.items() if key != "overrides"}))


def test_seeds_that_are_finished_stay_when_others_are_added(comparison, write, tmp_path, monkeypatch):
    monkeypatch.setattr("lmzoo.train.compare.command.run_all", lambda *_, **__: [])
    output = tmp_path / "out"
    for seed, finished in ((1, True), (0, True), (7, False)):
        folder = output / "alibi" / f"seed-{seed}"
        folder.mkdir(parents=True)
        (folder / "results.json").write_text(json.dumps({"finished": finished}))
    monkeypatch.setattr("lmzoo.train.compare.command.evaluate_all", lambda *_, **__: [])
    monkeypatch.setattr("lmzoo.train.compare.command._finish", lambda *_: None)
    assert main([str(write(comparison)), "--output", str(output), "--seeds", "3", "--variants", "rotary"]) == 0
    assert load_yaml(output / "comparison.yaml")["seeds"] == [3, 0, 1]


def test_where_the_runs_go(comparison, write, tmp_path):
    file = write(comparison)
    assert str(read_comparison(file).output) == "runs/positions"
    assert str(output_of(file)) == "runs/positions"
    assert output_of(tmp_path) == tmp_path
    assert str(output_of(file, "elsewhere")) == "elsewhere"
    assert str(read_comparison(write(comparison | {"output": "there"})).output) == "there"
    del comparison["name"]
    assert str(read_comparison(write(comparison, "mine.yaml")).output) == "runs/mine"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        (False, None),
        (True, AnalysisSettings()),
        ({"prompts": 8, "new_tokens": 40}, AnalysisSettings(prompts=8, new_tokens=40)),
    ],
)
def test_an_analysis_can_be_asked_for(comparison, write, given, expected):
    read = read_comparison(write(comparison | {"analyze": given}))
    assert read.analyze == expected
    assert read_comparison(write(read.as_yaml(), "again.yaml")).analyze == expected
