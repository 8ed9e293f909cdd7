"""Every mistake in a configuration is one readable message with exit code 2, before any data is read."""

import copy

import pytest
import yaml
from lmzoo.errors import ConfigError
from lmzoo.train.cli import main
from lmzoo.train.data import TextDataModule
from lmzoo.train.fit.lightning_cli import TrainingCLI, check


@pytest.fixture(autouse=True)
def no_data_is_read(monkeypatch):
    def refuse(self, *args, **kwargs):
        raise AssertionError("data was read before the configuration was checked")

    monkeypatch.setattr(TextDataModule, "prepare_data", refuse)
    monkeypatch.setattr(TextDataModule, "setup", refuse)


def change(config, key, value):
    changed = copy.deepcopy(config)
    place = changed
    *path, last = key.split(".")
    for name in path:
        place = place.setdefault(name, {})
    place[last] = value
    return changed


# key to change, value, and what the message has to contain
MISTAKES = [
    ("model.d_modle", 16, ["model.d_modle", "unknown key", "d_model"]),
    ("modle", {"d_model": 16}, ["modle", "unknown key", "model"]),
    ("trainer.max_step", 3, ["trainer.max_step", "unknown key", "max_steps"]),
    ("data.contextlength", 3, ["data.contextlength", "context_length"]),
    ("model.position", "Rotarry", ["model.position", "Rotarry", "Rotary"]),
    ("model.position", "SwiGLU", ["model.position", "does not fit", "Rotary"]),
    ("model.attention", {"class_path": "SoftmxAttention"}, ["model.attention", "SoftmaxAttention"]),
    (
        "model.position",
        {"class_path": "Rotary", "init_args": {"bas": 1.0}},
        ["model.position.init_args.bas", "unknown key", "base"],
    ),
    ("model.position", {"class_pth": "Rotary"}, ["model.position.class_pth", "class_path"]),
    ("model.d_model", "wide", ["model.d_model", "int", "wide"]),
    ("model.betas", [0.9], ["model.betas"]),
    (
        "model.attention",
        {"class_path": "SoftmaxAttention", "init_args": {"n_kv_heads": "two"}},
        ["n_kv_heads", "int", "two"],
    ),
    ("model.n_heads", 3, ["n_heads", "16"]),
    ("model.d_model", 0, ["d_model", "at least 1"]),
    ("model.dropout", 1.5, ["model.dropout", "1.5"]),
    ("model.learning_rate", -1.0, ["model.learning_rate", "positive"]),
    ("data.context_length", 0, ["data.context_length"]),
    ("data.batch_size", -4, ["data.batch_size"]),
    ("data.source", "wikitext-3", ["data.source", "wikitext-2"]),
    ("data.source", "no/such/file.txt", ["data.source", "no/such/file.txt"]),
    ("data.numbers", "bpee", ["data.numbers", "bpe"]),
    ("trainer.precision", "bf17", ["precision", "bf16"]),
    ("checkpoint_every_n_steps", 0, ["checkpoint_every_n_steps"]),
    (
        "model.attention",
        {"class_path": "SoftmaxAttention", "dict_kwargs": {"n_kv_heads": 1}},
        ["model.attention.dict_kwargs", "init_args"],
    ),
    (
        "model.position",
        {"class_path": "LearnedPosition", "init_args": {"max_length": 8}},
        ["data.context_length", "16", "8"],
    ),
    (
        "model.attention",
        {"class_path": "SigmoidAttention", "init_args": {"train_length": 256}},
        ["data.context_length", "256", "model.attention.init_args.train_length", "16"],
    ),
    ("model.attention", "SigmoidAttention", ["data.context_length", "1024", "model.attention.init_args.train_length"]),
    ("model.feed_forward", "os.system", ["model.feed_forward", "allow_classes"]),
    ("trainer.callbacks", [{"class_path": "evil.Callback"}], ["trainer.callbacks", "evil.Callback", "allow_classes"]),
    ("trainer.callbacks", ["evil.Callback"], ["trainer.callbacks", "evil.Callback", "allow_classes"]),
    ("trainer.logger", "evil.Logger", ["trainer.logger", "evil.Logger", "allow_classes"]),
    ("trainer.logger", "logger.yaml", ["trainer.logger", "not another file"]),
    ("model.head", {"init_args": {"tied": True}}, ["model.head.init_args.tied", "class_path"]),
    (
        "model.attention",
        {
            "class_path": "SoftmaxAttention",
            "init_args": {"position": {"class_path": "Rotary", "init_args": {"base": "x"}}},
        },
        ["mine.yaml:14: model.attention.init_args.position.init_args.base: expected float, got x"],
    ),
    ("model.loss", {"class_path": "CrossEntropy", "init_args": {"gamma": 2}}, ["model.loss.init_args.gamma", "none"]),
    # jsonargparse would import what such a string names
    (
        "model.loss",
        {"class_path": "PowerLawDecay", "init_args": {"token_counts": "evil.counts"}},
        ["model.loss.init_args.token_counts", "evil.counts", "allow_classes"],
    ),
    ("trainer.callbacks", 3, ["trainer.callbacks", "list[Callback]", "null", "3"]),
]


@pytest.mark.parametrize(("key", "value", "words"), MISTAKES, ids=[f"{k}={v}"[:60] for k, v, _ in MISTAKES])
def test_mistake_in_a_file(tiny, write, capsys, key, value, words):
    path = write(change(tiny, key, value), "mine.yaml")
    assert main(["fit", "--config", str(path)]) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    assert "mine.yaml" in message
    for word in words:
        assert word in message, message


def test_the_line_is_named(tiny, write, capsys):
    path = write(change(tiny, "model.d_modle", 16), "mine.yaml")
    line = next(i for i, text in enumerate(path.read_text().splitlines(), 1) if "d_modle" in text)
    main(["fit", "--config", str(path)])
    assert f"mine.yaml:{line}: model.d_modle" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--model.d_modle", "16"], ["--model.d_modle", "--model.d_model"]),
        (["--model.position", "Rotarry"], ["Rotarry", "Rotary", "command line"]),
        (["--model.position=os.system"], ["os.system", "allow_classes"]),
        (["--model.d_model", "wide"], ["model.d_model", "int", "wide"]),
        (["--trainer.max_stepz=3"], ["--trainer.max_stepz", "--trainer.max_steps"]),
        (["--config"], ["--config", "YAML"]),
        (["--model.attention.init_args.position", "evil.Position"], ["evil.Position", "allow_classes"]),
        (["--model.head.init_args.tyed", "true"], ["tyed", "command line"]),
        (["--trainer.max_epochs", "0"], ["trainer.max_epochs", "at least 1"]),
        (["--trainer.max_steps", "0"], ["trainer.max_steps", "at least 1"]),
        (["--trainer.accumulate_grad_batches", "0"], ["trainer.accumulate_grad_batches", "at least 1"]),
        (["--trainer.log_every_n_steps", "0"], ["trainer.log_every_n_steps", "1 or more"]),
        (["--trainer.limit_train_batches", "3"], ["trainer.limit_train_batches", "max_steps"]),
        (["--trainer.callbacks+=evil.Callback"], ["evil.Callback", "allow_classes"]),
        (["--trainer.logger", "evil.Logger"], ["evil.Logger", "allow_classes"]),
        (["--model.attention", '{"class_path": "evil.Attention"}'], ["evil.Attention", "allow_classes"]),
        (["--model", "other.yaml"], ["--model", "unknown option"]),
        (["--model.compile"], ["--model.compile", "a value after it"]),
        (["--allow_classes=yes"], ["--allow_classes", "no value", "yes"]),
        (["--model.seed", "4"], ["--model.seed", "unknown option"]),
        (["--model.attention.n_kv_hds", "2"], ["command line: model.attention.init_args.n_kv_hds", "n_kv_heads"]),
        (["stray"], ["unknown option stray"]),
        (["--", "x"], ["unknown option --"]),
        (["--model.dropout", ".nan"], ["command line: model.dropout", "a rate", "nan"]),
        (["--trainer.plugins+=x"], ["command line: trainer.plugins", "expected Precision or", "'x'"]),
        (["--trainer.strategy.class_path=evil.X"], ["command line: trainer.strategy", "evil.X", "allow_classes"]),
        *(
            ([f"--trainer.{key}.help", "evil.Evil"], ["evil.Evil", "allow_classes"])
            for key in ("accelerator", "callbacks", "logger", "plugins", "profiler", "strategy")
        ),
    ],
)
def test_mistake_on_the_command_line(tiny, write, capsys, words, expected):
    assert main(["fit", "--config", str(write(tiny)), *words]) == 2
    message = capsys.readouterr().err
    for word in expected:
        assert word in message, message


def test_options_are_written_into_the_file(tiny, write):
    attention = {"class_path": "SoftmaxAttention", "init_args": {"n_kv_heads": 1}}
    file = str(write(change(tiny, "model.attention", attention)))
    words = (
        "--model.attention SigmoidAttention --model.attention.train_length 16 --run_dir 7 --trainer.devices 1".split()
    )
    words += ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=validation/cross_entropy"]
    cli = TrainingCLI("fit", ["--config", file, *words, "--trainer.callbacks.init_args.patience", "2"])
    resolved = cli.resolved()
    expected = {"n_kv_heads": 1, "position": None, "train_length": 16}
    assert resolved["model"]["attention"]["init_args"] == expected, "the new class keeps what it takes as well"
    assert str(cli.run.folder) == "7", "text stays text"
    assert resolved["trainer"]["callbacks"][0]["init_args"]["patience"] == 2
    other = TrainingCLI("fit", ["--config", file, "--model.attention", '{"init_args": {"n_kv_heads": 2}}']).resolved()
    assert other["model"]["attention"]["init_args"]["n_kv_heads"] == 2


def test_an_option_for_a_part_does_not_swallow_what_the_file_misspells(tiny, write, capsys):
    part = {"class_path": "SoftmaxAttention", "init_args": {"n_kv_hds": 1}}
    file = write(change(tiny, "model.attention", part), "mine.yaml")
    for name in ("SoftmaxAttention", "SigmoidAttention"):
        assert main(["fit", "--config", str(file), "--model.attention", name]) == 2
        assert "model.attention.init_args.n_kv_hds: unknown key" in capsys.readouterr().err


def test_options_for_objects_set_extend_and_change_them(tiny, write):
    stopping = {"class_path": "EarlyStopping", "init_args": {"monitor": "a"}}
    file = str(write(change(tiny, "trainer.callbacks", [stopping, {"class_path": "LearningRateMonitor"}])))

    def callbacks(*words):
        found = TrainingCLI("fit", ["--config", file, *words]).resolved()["trainer"]["callbacks"]
        return [callback["class_path"].rpartition(".")[2] for callback in found]

    both = ["EarlyStopping", "LearningRateMonitor"]
    assert callbacks("--trainer.callbacks=ModelSummary") == ["ModelSummary"]
    assert callbacks("--trainer.callbacks={class_path: ModelSummary}") == ["ModelSummary"]
    assert callbacks("--trainer.callbacks+=[{class_path: ModelSummary}, DeviceStatsMonitor]") == [
        *both,
        "ModelSummary",
        "DeviceStatsMonitor",
    ]
    assert callbacks("--trainer.callbacks+=null") == both
    assert callbacks("--trainer.callbacks.logging_interval=step") == both
    arguments = TrainingCLI("fit", ["--config", file, "--model.attention", "{n_kv_heads: 2}"]).resolved()
    assert arguments["model"]["attention"]["init_args"]["n_kv_heads"] == 2
    infinite = TrainingCLI("fit", ["--config", file, "--trainer.gradient_clip_val", ".inf"]).resolved()
    assert infinite["trainer"]["gradient_clip_val"] == float("inf")


def test_missing_file_and_misspelt_command(tmp_path, capsys):
    assert main(["fit", "--config", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml" in capsys.readouterr().err
    assert main(["fitt"]) == 2
    assert "fit" in capsys.readouterr().err
    assert main(["test"]) == 2
    assert "--run_dir" in capsys.readouterr().err
    assert main(["fit"]) == 2
    assert "--config FILE" in capsys.readouterr().err


def test_foreign_classes_load_only_when_allowed(tiny, write, tmp_path, monkeypatch, capsys):
    (tmp_path / "my_parts.py").write_text(
        "import lmzoo.layers\nprint('my_parts was imported')\nclass MyFeedForward(lmzoo.layers.SwiGLU):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    path = write(change(tiny, "model.feed_forward", "my_parts.MyFeedForward"))
    with pytest.raises(ConfigError, match="allow_classes"):
        check(yaml.safe_load(path.read_text()))
    assert "imported" not in capsys.readouterr().out
    cli = TrainingCLI("fit", ["--config", str(path), "--allow_classes"])
    assert type(cli.model.network.blocks[0].feed_forward).__name__ == "MyFeedForward"


def test_check_returns_the_resolved_configuration(tiny):
    resolved = check(tiny, origin="variant x of demo.yaml")
    assert resolved["model"]["d_model"] == 16
    assert resolved["model"]["attention"]["class_path"].endswith("SoftmaxAttention")
    assert check(resolved) == resolved, "resolving twice changes nothing"
    with pytest.raises(ConfigError, match=r"variant x of demo\.yaml: model\.d_modle"):
        check(change(tiny, "model.d_modle", 1), origin="variant x of demo.yaml")
