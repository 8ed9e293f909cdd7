"""LightningCLI with checked configurations: what ``fit``, ``validate`` and ``test`` start from."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from inspect import Parameter
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.seed import seed_everything
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from ...errors import ArgumentError, ConfigError, require
from ..arguments import quiet_libraries
from ..config import Config, Places, flatten, load_run_config, merge
from ..config_check import COMMAND_LINE, ConfigCheck, Keys, keys_of
from ..data import TextDataModule
from ..data.tokenizer_cache import load_tokenizer
from ..runs.folder import RunFolder
from .checkpoint import AtomicCheckpointIO, ResumeCheckpoint
from .init_from import InitialModel, check_number_embedding, tokenizer_arguments
from .metrics_log import MetricsLog, progress_callback
from .module import LanguageModule
from .processes import SHARDED, ShardedStrategy, check_strategy

DESCRIPTIONS = {
    "fit": "Train a model from a YAML file. Run the same command again to resume a run that was interrupted.",
    "validate": "Perplexity of a trained run on the validation split.",
    "test": "Perplexity of a trained run on the test split.",
}

USAGE = {
    "fit": """lmzoo fit --config FILE [--run_dir FOLDER] [--KEY VALUE ...]

examples:
  lmzoo fit --config configs/python-docs/tiny.yaml
  lmzoo fit --config configs/python-docs/tiny.yaml --model.position ALiBi --trainer.max_steps 50
  lmzoo fit --config configs/wikitext-2/1m.yaml --run_dir runs/mine     (again: resumes)
  lmzoo fit --config configs/wikitext-2/1m.yaml --print_config          (every key with its value)
  lmzoo fit --config configs/wikitext-2/power-law-decay.yaml --init_from runs/1m/seed-0     (fine-tuning)
  lmzoo fit --model.attention.help SoftmaxAttention                     (the arguments of a part)""",
    "validate": "lmzoo validate --run_dir FOLDER [--debias] [--KEY VALUE ...]",
    "test": "lmzoo test --run_dir FOLDER [--debias] [--KEY VALUE ...]",
}

# Lightning's "int = so many batches, float = this share": the parser reads 1 as 1.0 where typing has cached the other
# order of the two, so whole numbers are put back.
_WHOLE_OR_FRACTION = tuple(f"limit_{split}_batches" for split in ("train", "val", "test"))
_WHOLE_OR_FRACTION += ("overfit_batches", "val_check_interval")

TRAINER_DEFAULTS = {
    "log_every_n_steps": 10,
    "val_check_interval": 0.25,
    "gradient_clip_val": 1.0,
    "num_sanity_val_steps": 0,
    "use_distributed_sampler": False,  # the data module deals out samples by rank itself
    "enable_model_summary": False,
    "enable_checkpointing": True,
}

# what follows from other keys: no options of a command line
_LINKED = ("model.seed", "data.seed", "model.vocab_size")

# the options beside the seed, the model, the data and the trainer: type, default and help
_OPTIONS: dict[str, tuple[Any, Any, str]] = {
    "run_dir": (
        str | None,
        None,
        "Folder of the run; runs/<config>/seed-<seed> if not given. An unfinished run there is resumed.",
    ),
    "checkpoint_every_n_steps": (int, 100, "Optimizer steps between checkpoints."),
    "init_from": (
        str | None,
        None,
        "Folder of a finished run to start from: its tokenizer and its weights; loss and head may differ. "
        "It has to stay there until the run is finished.",
    ),
    "debias": (bool, False, "Score a second time with the shift of a loss such as PowerLawDecay taken back."),
    "allow_classes": (
        bool,
        False,
        "Allow class paths outside lmzoo: loading such a configuration runs the code it names.",
    ),
}


class TrainingCLI(LightningCLI):
    """Parses a command line, checks all that can be checked without data, and builds data, model and trainer.

    Nothing is read or trained by the constructor. ``trainer.max_epochs`` counts passes over the training text and
    ``trainer.max_steps`` optimizer steps; with neither, one pass is made. To Lightning the whole run is one epoch:
    that leaves it a single, simple state to resume from, and the order of samples is ours (``SampleOrder``).

    Args:
        command: ``fit``, ``validate`` or ``test``.
        arguments: the words after the command.
        config: a configuration that goes before the files named in ``arguments``.
        origin: what to call ``config`` in messages.

    Raises:
        ConfigError: for anything in the configuration that cannot be used.
    """

    def __init__(
        self, command: str, arguments: Sequence[str], *, config: Config | None = None, origin: str = "configuration"
    ) -> None:
        quiet_libraries()
        self.command = command
        self.given = config
        self.initial: InitialModel | None = None
        self.places = Places(dict.fromkeys(flatten(config or {}), origin))
        self.sources: list[str] = [origin] if config is not None else []
        with _one_message(self):
            super().__init__(
                LanguageModule,
                TextDataModule,
                save_config_callback=None,
                seed_everything_default=0,
                parser_kwargs={
                    "prog": f"lmzoo {command}",
                    "usage": USAGE[command],
                    "description": DESCRIPTIONS[command],
                    "exit_on_error": False,
                },
                args=list(arguments),
                run=False,
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,
            )

    # -- parsing ------------------------------------------------------------------------------------------------

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """One seed for initialisation, the order of samples and dropout."""
        parser.add_argument(
            "--seed_everything", type=int, default=0, help="Seed of initialisation, sample order and dropout."
        )

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The model and the data before the trainer's many keys, so that ``--help`` begins with what matters."""
        parser.add_lightning_class_args(LanguageModule, "model")
        parser.add_lightning_class_args(TextDataModule, "data")
        parser.add_lightning_class_args(pl.Trainer, "trainer")
        parser.set_defaults({f"trainer.{key}": value for key, value in TRAINER_DEFAULTS.items()})

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        for name, (kind, default, text) in self._run_options.items():
            typed = {"action": "store_true"} if kind is bool else {"type": kind, "default": default}
            parser.add_argument(f"--{name}", help=text, **typed)
        for key in ("model.seed", "data.seed"):
            parser.link_arguments("seed_everything", key)
        parser.link_arguments(("data.vocab_size", "data.tokenizer"), "model.vocab_size", compute_fn=_vocabulary)

    @property
    def _run_options(self) -> dict[str, tuple[Any, Any, str]]:
        return {name: option for name, option in _OPTIONS.items() if name != "debias" or self.command != "fit"}

    def _keys(self) -> Keys:
        """Every key of a run's configuration."""
        types = {"seed_everything": int} | {name: kind for name, (kind, _, _) in self._run_options.items()}
        return {
            "model": keys_of(LanguageModule),
            "data": keys_of(TextDataModule),
            "trainer": keys_of(pl.Trainer),
            **{name: Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind) for name, kind in types.items()},
        }

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Merge the YAML files and the options, check the result, and hand it to jsonargparse as one configuration."""
        flags = [name for name, (kind, _, _) in self._run_options.items() if kind is bool]
        self.check = ConfigCheck(self._keys(), self.places, flags=flags, computed=_LINKED)
        files, options, shown = self.check.read(args)
        asks_for_help = any(word in ("-h", "--help") or word.endswith(".help") for word in shown)
        if self.command != "fit" and not asks_for_help:
            if files:
                raise ConfigError("a run is evaluated with its own configuration; give --run_dir", key="--config")
            files = [str(_config_of_run(dict(options)))]
        elif not files and self.given is None and not asks_for_help:
            raise ConfigError(f"give a configuration: --config FILE\n{USAGE['fit']}", place=COMMAND_LINE)
        merged = dict(self.given or {})
        for file in files:
            config, places = load_run_config(file)
            merged = merge(merged, config)
            self.places.of_key.update(places.of_key)
            self.sources.append(file)
        merged = self.check.check(self.check.with_options(merged, options))
        written = flatten(merged)
        if self.command == "fit" and written.get("init_from") is not None:
            self.initial = InitialModel(str(written["init_from"]), allow_foreign=self.check.allow_classes)
            merged["data"] = (merged.get("data") or {}) | tokenizer_arguments(self.initial, written, self.places)
        self.config = parser.parse_args(["--config", json.dumps(_finite_or_text(merged), default=str), *shown])
        trainer = merged.get("trainer", {})
        self.whole = {name: trainer[name] for name in _WHOLE_OR_FRACTION if type(trainer.get(name)) is int}

    def _set_seed(self) -> None:
        seed_everything(self.config.seed_everything, workers=True, verbose=False)

    # -- building -----------------------------------------------------------------------------------------------

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        settings = {**self._get(self.config_init, "trainer", default={}), **self.whole, **kwargs}
        self._check_settings(settings)
        self.run = RunFolder(self.config.run_dir or self._default_folder())
        steps = None if settings["max_steps"] in (-1, None) else settings["max_steps"]
        passes = 1 if settings["max_epochs"] is None and steps is None else settings["max_epochs"]
        self.datamodule.limit_batches(passes=passes, steps=steps, accumulate=settings["accumulate_grad_batches"])
        settings["max_epochs"] = 1
        settings["default_root_dir"] = settings["default_root_dir"] or str(self.run.folder)
        # Ours are made when training starts: a logger makes its folder at once, and nothing is to be made before.
        self.default_loggers = settings["logger"] in (None, True)
        if self.default_loggers:
            settings["logger"] = False
        self.log = MetricsLog(self.run.metrics_file, settings["log_every_n_steps"])
        self.checkpoint = ResumeCheckpoint(self.run.checkpoint_folder, self.config.checkpoint_every_n_steps)
        bar = progress_callback() if settings["enable_progress_bar"] is not False else None
        ours = [self.log, self.checkpoint, *([bar] if bar else [])]
        settings["enable_progress_bar"] = isinstance(bar, ProgressBar)
        settings["callbacks"] = [*(settings["callbacks"] or []), *ours]
        settings["strategy"] = ShardedStrategy() if settings["strategy"] == SHARDED else settings["strategy"]
        settings["plugins"] = [*(settings["plugins"] or []), AtomicCheckpointIO()]
        return pl.Trainer(**settings)

    def _check_settings(self, settings: dict[str, Any]) -> None:
        """What Lightning would find out late, or would do to a run that is one epoch to it."""
        every = self.config.checkpoint_every_n_steps
        require(every >= 1, "checkpoint_every_n_steps", "1 or more", every)
        require(settings["log_every_n_steps"] >= 1, "log_every_n_steps", "1 or more", settings["log_every_n_steps"])
        limit = settings["limit_train_batches"]
        require(limit in (None, 1.0), "limit_train_batches", "no limit: max_steps says how long a run is", limit)
        require(
            not settings["overfit_batches"],
            "overfit_batches",
            "0: it would change the data",
            settings["overfit_batches"],
        )
        check_strategy(settings)
        compiled = self.model.compile_network and settings["strategy"] == SHARDED
        require(not compiled, "compile", f"false with trainer.strategy {SHARDED}, which does not compile", True)
        for name, length in (
            ("context_length", self.datamodule.context_length),
            ("eval_context_length", self.datamodule.eval_context_length),
        ):
            self.model.check_length(length, name)
        if self.command == "fit":
            self.model.check_train_length(self.datamodule.context_length, "context_length")
        if self.initial is not None:
            self.model.start_from(self.initial)
            self.datamodule.use_tokenizer(self.initial.tokenizer)
        if self.command == "fit":
            self.model.check_start()
        check_number_embedding(self.model.number_embedding, self.datamodule.numbers, self.datamodule.tokenizer_name)
        if self.datamodule.tokenizer_name is not None:
            _ = self.datamodule.tokenizer  # loads it, and checks vocab_size against it

    def _default_folder(self) -> Path:
        name = "-".join(Path(source).stem for source in self.sources) or "default"
        return Path("runs") / name / f"seed-{self.config.seed_everything}"

    def loggers(self) -> list[CSVLogger | TensorBoardLogger]:
        """The default loggers: CSV (a new version for each start, so that none is overwritten) and TensorBoard."""
        folder = str(self.run.log_folder)
        return [CSVLogger(folder, name="csv"), TensorBoardLogger(folder, name="tensorboard", version="")]

    def resolved(self) -> Config:
        """The whole configuration as plain values, every default spelt out; links left out, as they follow."""
        dumped = self.parser.dump(self.config, skip_unset=False, format="yaml")
        loaded: Config = yaml.safe_load(dumped)
        loaded["trainer"].update(self.whole)
        for key in ("config", "allow_classes", "run_dir", "debias"):
            loaded.pop(key, None)
        if loaded["init_from"] is None:  # runs from before there was this key are still what they were
            del loaded["init_from"]
        if loaded["data"]["tuning_fraction"] is None:  # likewise
            del loaded["data"]["tuning_fraction"]
        return loaded


def check(config: Config, *, origin: str = "configuration") -> Config:
    """Check a whole run configuration without reading data; returns it resolved.

    Args:
        config: as a YAML file of ``lmzoo fit`` would hold it.
        origin: what to call it in messages.

    Raises:
        ConfigError: naming the key, what was expected and the nearest valid names.
    """
    return TrainingCLI("fit", [], config=config, origin=origin).resolved()


def _finite_or_text(value: Any) -> Any:
    """The value with infinite and undefined numbers as YAML writes them, since JSON has none."""
    if isinstance(value, Mapping):
        return {key: _finite_or_text(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite_or_text(inner) for inner in value]
    unwritten = isinstance(value, float) and not math.isfinite(value)
    return yaml.safe_dump(value).split()[0] if unwritten else value


def _config_of_run(options: Mapping[str, str]) -> Path:
    """The stored configuration of the run that ``validate`` and ``test`` were pointed at."""
    if "run_dir" not in options:
        raise ConfigError("give the run to evaluate: --run_dir FOLDER", place=COMMAND_LINE)
    file = Path(options["run_dir"]) / "config.yaml"
    if not file.is_file():
        message = f"expected the folder of a run, with a config.yaml in it, got {file.parent}"
        raise ConfigError(message, key="--run_dir")
    return file


def _vocabulary(vocab_size: int | None, tokenizer: str | None) -> int:
    """The number of token ids the model has to know: of the tokenizer to train, or of the one given."""
    if tokenizer is None or vocab_size is not None:
        return vocab_size or 0
    return len(load_tokenizer(tokenizer))


@contextlib.contextmanager
def _one_message(cli: TrainingCLI) -> Iterator[None]:
    """Turn whatever a constructor raises about its arguments into one :class:`ConfigError` with file and key."""
    try:
        yield
    except (ArgumentError, argparse.ArgumentError) as error:
        raise cli.check.explain(error) from None
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise ConfigError(" ".join(str(error).split()), place=", ".join(cli.sources) or None) from error
