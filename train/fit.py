"""``lmzoo fit``, ``validate`` and ``test``: LightningCLI with checked configurations and runs that resume exactly."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml
from jsonargparse import ArgumentParser
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.seed import seed_everything
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from ..errors import ArgumentError, nearest
from .checkpoint import AtomicCheckpointIO, ResumeCheckpoint
from .config import Config, ConfigError, Places, flatten, load_run_config, merge
from .data import TextDataModule
from .data.tokenizer_cache import load_tokenizer
from .metrics_log import MetricsLog
from .module import LanguageModule
from .progress import progress_callback, quiet_libraries
from .run import Run
from .schema import CLASS_KEYS, check_config, check_trust, find_class, part_base, public_path, readable

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
  lmzoo fit --model.attention.help SoftmaxAttention                     (the arguments of a part)""",
    "validate": "lmzoo validate --run_dir FOLDER [--KEY VALUE ...]",
    "test": "lmzoo test --run_dir FOLDER [--KEY VALUE ...]",
}

TRAINER_DEFAULTS = {
    "log_every_n_steps": 10,
    "val_check_interval": 0.25,
    "gradient_clip_val": 1.0,
    "num_sanity_val_steps": 0,
    "use_distributed_sampler": False,  # the data module deals out samples by rank itself
    "enable_model_summary": False,
    "enable_checkpointing": True,
}


class TrainingCLI(LightningCLI):
    """Parses a command line, checks all that can be checked without data, and builds data, model and trainer.

    Nothing is read or trained by the constructor. ``trainer.max_epochs`` counts passes over the training text and
    ``trainer.max_steps`` optimizer steps; with neither, one pass is made. To Lightning the whole run is one epoch:
    that leaves it a single, simple state to resume from, and the order of samples is ours (see ``data/order.py``).

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
        parser.add_argument(
            "--run_dir",
            type=str | None,
            default=None,
            help="Folder of the run; runs/<config>/seed-<seed> if not given. An unfinished run there is resumed.",
        )
        parser.add_argument(
            "--checkpoint_every_n_steps", type=int, default=200, help="Optimizer steps between checkpoints."
        )
        parser.add_argument(
            "--allow_classes",
            action="store_true",
            help="Allow class paths outside lmzoo: loading such a configuration runs the code it names.",
        )
        parser.link_arguments("seed_everything", "model.seed")
        parser.link_arguments("seed_everything", "data.seed")
        parser.link_arguments(("data.vocab_size", "data.tokenizer"), "model.vocab_size", compute_fn=_vocabulary)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Merge and check the YAML files ourselves, then hand everything to jsonargparse as one configuration."""
        files, rest = _split_config_options(args)
        if not files and self.given is None and self.command != "fit" and not {"-h", "--help"} & set(rest):
            files = [str(_config_of_run(rest))]
        merged = dict(self.given or {})
        for file in files:
            config, places = load_run_config(file)
            merged = merge(merged, config)
            self.places.of_key.update(places.of_key)
            self.sources.append(file)
        allow = "--allow_classes" in rest
        for key, value in _options(rest):
            check_trust(_yaml_value(value), Places({key: "command line"}), key, allow_classes=allow)
        merged = check_config(merged, parser, self.places, allow_classes=allow)
        rest = _full_class_paths(rest, parser, allow_classes=allow)
        _refuse_unknown_options(rest, parser)
        self.config = parser.parse_args(["--config", json.dumps(merged), *rest])

    def key_of(self, argument: str) -> str:
        """The full key of a constructor's argument: one that was written down if there is one."""
        known = [a.dest for a in self.parser._actions]
        for keys in (self.places.of_key, known):
            for key in keys:
                if key == argument or key.endswith(f".{argument}"):
                    return key
        return argument

    def explain(self, error: ArgumentError) -> ConfigError:
        """An error about a constructor's argument, with the key and the place where it was written."""
        key = self.key_of(error.argument)
        message = f"expected {error.expected}, got {error.given!r}"
        return ConfigError(message, key=key, place=self.places.find(key))

    def _set_seed(self) -> None:
        seed_everything(self.config.seed_everything, workers=True, verbose=False)

    # -- building -----------------------------------------------------------------------------------------------

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        settings = {**self._get(self.config_init, "trainer", default={}), **kwargs}
        if self.config.checkpoint_every_n_steps < 1:
            raise ArgumentError("checkpoint_every_n_steps", "1 or more", self.config.checkpoint_every_n_steps)
        self.run = Run(self.config.run_dir or self._default_folder())
        steps = None if settings["max_steps"] in (-1, None) else settings["max_steps"]
        passes = 1 if settings["max_epochs"] is None and steps is None else settings["max_epochs"]
        self.datamodule.limit_batches(passes=passes, steps=steps, accumulate=settings["accumulate_grad_batches"])
        settings["max_epochs"] = 1
        settings.setdefault("default_root_dir", None)
        settings["default_root_dir"] = settings["default_root_dir"] or str(self.run.folder)
        if settings["logger"] in (None, True):
            # made when training starts: a logger makes its folder at once, and nothing is to be made before that
            settings["logger"] = False
            self.default_loggers = True
        else:
            self.default_loggers = False
        self.log = MetricsLog(self.run.metrics_file, settings["log_every_n_steps"])
        ours = [self.log, ResumeCheckpoint(self.run.checkpoint_folder, self.config.checkpoint_every_n_steps)]
        bar = progress_callback() if settings["enable_progress_bar"] is not False else None
        if bar:
            ours.append(bar)
        settings["enable_progress_bar"] = isinstance(bar, ProgressBar)
        settings["callbacks"] = [*(settings["callbacks"] or []), *ours]
        settings["plugins"] = [*(settings["plugins"] or []), AtomicCheckpointIO()]
        return pl.Trainer(**settings)

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
        for key in ("config", "allow_classes", "run_dir"):
            loaded.pop(key, None)
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
    except ArgumentError as error:
        raise cli.explain(error) from None
    except argparse.ArgumentError as error:
        raise readable(str(error), cli.places) from None
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise ConfigError(" ".join(str(error).split()), place=", ".join(cli.sources) or None) from error


def _split_config_options(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take ``--config FILE`` (or ``-c``, or with ``=``) out of the words of a command line."""
    files: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if name not in ("--config", "-c"):
            rest.append(word)
            continue
        file = value if equals else next(words, None)
        if not file:
            raise ConfigError("expected a YAML file after it", key=name, place="command line")
        files.append(file)
    return files, rest


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The options of a command line as (key, value): ``--a.b=c``, ``--a.b c`` and ``--a.b+=c`` alike."""
    for i, word in enumerate(arguments):
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            following = arguments[i + 1] if i + 1 < len(arguments) else ""
            yield name.removesuffix("+"), value if equals else following


def _yaml_value(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _full_class_paths(arguments: list[str], parser: ArgumentParser, *, allow_classes: bool) -> list[str]:
    """Write ``--model.feed_forward SwiGLU`` out as its full class path, with the same checks as in a file."""
    bases = {a.dest: base for a in parser._actions if (base := part_base(getattr(a, "_typehint", None)))}
    words = list(arguments)
    for i, word in enumerate(words):
        name, equals, value = word.partition("=")
        key = name.removeprefix("--").removesuffix(".class_path")
        if not name.startswith("--") or key not in bases:
            continue
        value = value if equals else (words[i + 1] if i + 1 < len(words) else "")
        if not value or value[0] in "{[-" or value == "null":
            continue
        place = Places({key: "command line"})
        full = public_path(find_class(value, bases[key], key, place, allow_classes=allow_classes))
        if equals:
            words[i] = f"{name}={full}"
        else:
            words[i + 1] = full
    return words


def _refuse_unknown_options(arguments: Sequence[str], parser: ArgumentParser) -> None:
    """Name the nearest options for a misspelt one; options below a part are jsonargparse's to judge."""
    options = {o for a in parser._actions for o in a.option_strings}
    options -= {"--model", "--data", "--trainer"}  # whole files past our checks; --config is the way
    parts = tuple(f"--{a.dest}." for a in parser._actions if part_base(getattr(a, "_typehint", None)))
    containers = tuple(f"--{key}" for key in CLASS_KEYS)
    for word in arguments:
        name = word.partition("=")[0]
        if not name.startswith("--") or name in options or name.startswith((*parts, *containers)):
            continue
        close = ", ".join(nearest(name, options))
        raise ConfigError(f"unknown option; nearest valid options: {close}", key=name, place="command line")


def _config_of_run(arguments: Sequence[str]) -> Path:
    """The stored configuration of the run that ``validate`` and ``test`` were pointed at."""
    for i, word in enumerate(arguments):
        name, equals, value = word.partition("=")
        if name == "--run_dir":
            folder = Path(value if equals else arguments[i + 1] if i + 1 < len(arguments) else "")
            if not (folder / "config.yaml").is_file():
                raise ConfigError(f"expected the folder of a run, with a config.yaml in it, got {folder}", key=name)
            return folder / "config.yaml"
    raise ConfigError("give the run to evaluate: --run_dir FOLDER (or --config FILE)", place="command line")
