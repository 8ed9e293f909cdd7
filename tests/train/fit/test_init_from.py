"""Starting from a trained model: what is taken over, what is refused, and what the run says of it."""

import hashlib
import json
import shutil

import pytest
import torch
import yaml
from lmzoo.layers import LinearHead
from lmzoo.train.cli import main
from lmzoo.train.fit.module import LanguageModule
from safetensors.torch import load_file, save_file

BIASED = {"class_path": "LinearHead", "init_args": {"tied": True, "bias": True}}
UNTIED = {"class_path": "LinearHead", "init_args": {"tied": False}}


def fit(config, folder, *words):
    return main(["fit", "--config", str(config), "--run_dir", str(folder), *map(str, words)])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return tmp_path_factory.mktemp("trained") / "first"


@pytest.fixture
def source(trained, tiny, write):
    """The folder of a finished run, shared by the tests of this file."""
    if not trained.exists():
        assert fit(write(tiny, "source.yaml"), trained) == 0
    return trained


@pytest.fixture
def still(tiny):
    """A configuration that trains so slowly that the weights stay where they are; the tokenizer is left to say."""
    tiny["model"]["learning_rate"] = 1e-12
    tiny["trainer"] |= {"max_steps": 2, "val_check_interval": 2}
    del tiny["data"]["vocab_size"]
    return tiny


def nlls(folder):
    return [r["nll"] for r in json.loads((folder / "results.json").read_text())["records"]]


def origin(folder):
    return json.loads((folder / "init_from.json").read_text())


@pytest.mark.parametrize("loss", ["CrossEntropy", "PowerLawDecay"])
def test_all_is_loaded_under_another_loss(source, still, write, tmp_path, capsys, loss):
    still["model"]["loss"] = loss
    still["init_from"] = str(source)
    assert fit(write(still), tmp_path / "run") == 0
    assert nlls(tmp_path / "run") == pytest.approx(nlls(source), rel=1e-6)
    given, before = (load_file(folder / "model.safetensors") for folder in (tmp_path / "run", source))
    assert given.keys() == before.keys()
    for name in given:
        assert torch.allclose(given[name], before[name], rtol=0, atol=1e-8)
    assert f"{len(before)} tensors loaded" in " ".join(capsys.readouterr().out.split())
    assert origin(tmp_path / "run")["afresh"] == origin(tmp_path / "run")["left_out"] == []


def test_a_head_that_differs_starts_afresh(source, still, write, tmp_path, capsys):
    still["model"]["head"] = BIASED
    assert fit(write(still), tmp_path / "run", "--init_from", source) == 0
    assert origin(tmp_path / "run")["afresh"] == ["head.offset"]
    assert "head.offset start afresh" in " ".join(capsys.readouterr().out.split())
    # here it adds nothing but zeros
    assert nlls(tmp_path / "run") == pytest.approx(nlls(source), rel=1e-6)
    back = tmp_path / "back"
    del still["model"]["head"]
    assert fit(write(still), back, "--init_from", tmp_path / "run") == 0
    assert origin(back)["left_out"] == ["head.offset"]


def test_a_tied_head_may_get_rows_of_its_own_but_not_lose_them(source, still, write, tmp_path):
    still["model"]["head"] = UNTIED
    assert fit(write(still), tmp_path / "untied", "--init_from", source) == 0
    assert nlls(tmp_path / "untied") == pytest.approx(nlls(source), rel=1e-6), "they start as a copy of the embedding"
    assert origin(tmp_path / "untied")["afresh"] == []
    del still["model"]["head"]
    assert fit(write(still), tmp_path / "tied", "--init_from", tmp_path / "untied") == 0
    assert origin(tmp_path / "tied")["left_out"] == ["head.weight"]


def test_the_record_says_where_it_started_even_when_that_is_gone(source, still, write, tmp_path):
    moved = tmp_path / "first"
    shutil.copytree(source, moved)
    assert fit(write(still), tmp_path / "run", "--init_from", moved) == 0
    shutil.rmtree(moved)
    recorded = json.loads((tmp_path / "run" / "results.json").read_text())["records"]
    passport = recorded[0]["passport"]
    assert passport["init_from"] == str(moved)
    assert passport["init_from_sha256"] == hashlib.sha256((source / "model.safetensors").read_bytes()).hexdigest()
    assert main(["validate", "--run_dir", str(tmp_path / "run")]) == 0
    assert json.loads((tmp_path / "run" / "evaluations.jsonl").read_text()) == recorded[0]
    first = json.loads((source / "results.json").read_text())["records"][0]["passport"]
    assert "init_from" not in first
    assert first["tokenizer_sha256"] == passport["tokenizer_sha256"]


def test_resuming_does_not_load_again(source, tiny, write, tmp_path, monkeypatch):
    tiny["checkpoint_every_n_steps"] = 5
    moved = tmp_path / "first"
    shutil.copytree(source, moved)
    assert fit(write(tiny), tmp_path / "whole", "--init_from", moved) == 0
    step = LanguageModule.training_step

    def training_step(self, batch, batch_idx):
        if batch_idx == 7:
            raise RuntimeError("broken off")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(LanguageModule, "training_step", training_step)
    with pytest.raises(RuntimeError, match="broken off"):
        fit(write(tiny), tmp_path / "broken", "--init_from", moved)
    monkeypatch.setattr(LanguageModule, "training_step", step)
    blank = {name: torch.zeros_like(tensor) for name, tensor in load_file(moved / "model.safetensors").items()}
    save_file(blank, moved / "model.safetensors", metadata={"format": "pt"})
    assert fit(write(tiny), tmp_path / "broken", "--init_from", moved) == 0
    whole, broken = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "broken"))
    assert whole == broken
    assert origin(tmp_path / "broken") == origin(tmp_path / "whole"), "what was loaded, not what stands there now"


def test_a_new_head_is_told_the_rows_of_the_old_one(source, still, write, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(LinearHead, "use_corpus", lambda self, statistics: told.append(statistics), raising=False)
    before = load_file(source / "model.safetensors")
    still["model"]["head"] = {"class_path": "LinearHead", "init_args": {"bias": True}}
    assert fit(write(still), tmp_path / "other", "--init_from", source) == 0
    assert torch.equal(told[0].embedding, before["decoder.embedding.weight"])
    rows = load_file(tmp_path / "other" / "model.safetensors")["decoder.head.weight"]
    still["model"]["head"] = BIASED
    assert fit(write(still), tmp_path / "third", "--init_from", tmp_path / "other") == 0
    assert torch.equal(told[1].embedding, rows), "of the head, where it has rows of its own"
    assert fit(write(still), tmp_path / "fourth", "--init_from", tmp_path / "third") == 0
    assert len(told) == 2, "a head that was loaded keeps what it knows"


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (["--model.n_layers", 3], ["model.n_layers is 2 there and 3 here"]),
        (["--model.n_heads", 4], ["model.n_heads is 2 there and 4 here"]),
        (["--model.position", "ALiBi"], ["model.attention.init_args.position.class_path"]),
        (["--model.position", "Rotary", "--model.position.init_args.base", 500.0], ["position.init_args.base"]),
        (["--model.d_model", 32, "--model.feed_forward", "FeedForward"], ["model.d_model", "model.feed_forward"]),
        (["--data.vocab_size", 300], ["data.vocab_size: expected 270"]),
        (["--data.numbers", "triadic"], ["data.numbers: expected 'bpe'"]),
        (["--data.tokenizer", "gpt2"], ["data.tokenizer: expected null"]),
    ],
)
def test_another_body_or_tokenizer_is_refused_before_anything_is_read(
    source, still, write, tmp_path, capsys, monkeypatch, words, keys
):
    monkeypatch.setattr("lmzoo.train.data.module.prepare_split", None)
    assert fit(write(still), tmp_path / "run", "--init_from", source, *words) == 2
    message = " ".join(capsys.readouterr().err.split())
    for key in keys:
        assert key in message
    assert not (tmp_path / "run").exists()


def test_kmeans_without_a_model_is_refused_before_anything_is_read(tiny, write, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("lmzoo.train.data.module.prepare_split", None)
    tiny["model"]["head"] = {"class_path": "VQLogitsHead", "init_args": {"codebook_size": 9, "mapping": "kmeans"}}
    assert fit(write(tiny), tmp_path / "run") == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "init_from: expected the folder of a finished run" in message
    assert "cooccurrence" in message
    assert not (tmp_path / "run").exists()


def test_its_own_tokenizer_may_be_named(source, still, write, tmp_path):
    assert fit(write(still), tmp_path / "run", "--init_from", source, "--data.tokenizer", source) == 0
    stored = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert stored["init_from"] == str(source)


@pytest.mark.parametrize("damage", ["nothing", "pickle", "foreign", "cut", "tokenizer", "tensor"])
def test_only_whole_models_of_ours_in_safetensors(source, still, write, tmp_path, capsys, damage):
    folder = tmp_path / "first"
    if damage != "nothing":
        shutil.copytree(source, folder)
    weights = folder / "model.safetensors"
    if damage == "pickle":
        torch.save(load_file(weights), folder / "pytorch_model.bin")
        weights.unlink()
    elif damage == "foreign":
        (folder / "config.json").write_text('{"model_type": "gpt2"}')
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "tokenizer":
        for file in folder.glob("tokenizer*"):
            file.unlink()
    elif damage == "tensor":
        tensors = load_file(weights)
        del tensors["decoder.norm.weight"]
        save_file(tensors, weights, metadata={"format": "pt"})
    assert fit(write(still), tmp_path / "run", "--init_from", folder) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "init_from" in message
    assert str(folder) in message
    if damage == "tensor":
        assert "norm.weight" in message


def test_runs_without_the_key_are_what_they_were(source):
    assert "init_from" not in yaml.safe_load((source / "config.yaml").read_text())
