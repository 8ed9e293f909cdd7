"""A finished run is loaded from its folder: the same network, text and provenance, and no code of others."""

import json
import sys

import pytest
import torch
from lmzoo.errors import ConfigError
from lmzoo.train.cli import main
from lmzoo.train.config import load_yaml, write_yaml
from lmzoo.train.data import TextDataModule
from lmzoo.train.data.arithmetic import ArithmeticSettings
from lmzoo.train.evaluate.frame import corpus_of, usual_split
from lmzoo.train.evaluate.loaded_run import load_run
from transformers import AutoModelForCausalLM


@pytest.fixture
def run(tiny, write, tmp_path):
    tiny["trainer"]["max_steps"] = 3
    tiny["model"]["loss"] = {"class_path": "PowerLawDecay", "init_args": {"alpha": 0.5}}
    words = ["--run_dir", str(tmp_path / "run"), "--checkpoint_every_n_steps", "3"]
    assert main(["fit", "--config", str(write(tiny)), *words]) == 0
    return tmp_path / "run"


def test_network_loss_text_and_passport_are_those_of_the_run(run):
    loaded = load_run(run)
    exported = AutoModelForCausalLM.from_pretrained(run).decoder.state_dict()
    weights = loaded.network.state_dict()
    assert set(weights) == set(exported)
    assert all(torch.equal(weights[name], exported[name]) for name in exported)
    assert not loaded.network.training
    assert (loaded.weights, loaded.seed, loaded.module.loss.alpha) == ("model.safetensors", 3, 0.5)
    (record,) = (r for r in json.loads((run / "results.json").read_text())["records"] if r["split"] == "test")
    assert json.loads(json.dumps(loaded.passport("test"))) == record["passport"]


def test_an_unfinished_run_is_loaded_from_its_checkpoint(run, capsys):
    weights = load_run(run).network.state_dict()
    for name in ("model.safetensors", "results.json"):
        (run / name).unlink()
    loaded = load_run(run)
    assert loaded.weights == "step-00000003.ckpt"
    assert "evaluating its checkpoint step-00000003.ckpt" in capsys.readouterr().out.replace("\n", " ")
    assert all(torch.equal(tensor, weights[name]) for name, tensor in loaded.network.state_dict().items())
    (run / "checkpoints" / "step-00000003.ckpt").unlink()
    with pytest.raises(ConfigError, match=r"neither model\.safetensors nor a checkpoint"):
        load_run(run)


def test_classes_of_others_are_refused_and_the_trainer_is_not_built(run, tmp_path, monkeypatch):
    (tmp_path / "of_others.py").write_text("class Position: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = load_yaml(run / "config.yaml")
    config["trainer"]["callbacks"] = [{"class_path": "of_others.Callback"}]
    write_yaml(run / "config.yaml", config)
    load_run(run)
    config["model"]["position"] = {"class_path": "of_others.Position"}
    write_yaml(run / "config.yaml", config)
    with pytest.raises(ConfigError, match=r"of_others\.Position is outside lmzoo.*--allow_classes"):
        load_run(run)
    assert "of_others" not in sys.modules
    with pytest.raises(ConfigError, match="expected a subclass of Position"):
        load_run(run, allow_classes=True)


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"expected the folder of a run, with a config\.yaml in it"):
        load_run(tmp_path)
    write_yaml(tmp_path / "config.yaml", {"data": {}})
    with pytest.raises(ConfigError, match="model: expected a mapping of keys"):
        load_run(tmp_path)


def test_a_mistake_is_told_with_its_line_and_what_is_left_out_has_its_default(run):
    config = load_yaml(run / "config.yaml")
    del config["seed_everything"]
    write_yaml(run / "config.yaml", config)
    assert load_run(run).module.seed == 0
    config["data"]["source"] = "gone.txt"
    write_yaml(run / "config.yaml", config)
    line = (run / "config.yaml").read_text().splitlines().index("  source: gone.txt") + 1
    with pytest.raises(ConfigError, match=rf"config\.yaml:{line}: data\.source: expected"):
        load_run(run)


@pytest.mark.parametrize("more", [{}, {"tuning_fraction": 0.1}])
def test_the_text_of_a_run_is_that_of_its_configuration(more):
    settings = {"train_problems": 600, "test_problems": 60, "train_digits": 2, "mix": {"addition": 1.0}}
    data = {"source": "arithmetic", "arithmetic": settings, **more}
    trained_on = TextDataModule("arithmetic", arithmetic=ArithmeticSettings(**settings), **more).corpus
    split = "validation" if more else "test"
    assert usual_split(corpus_of(data)) == split
    assert list(corpus_of(data).documents(split)) == list(trained_on.documents(split))
