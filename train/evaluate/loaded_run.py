"""A trained run, loaded from its folder: network, loss, text and provenance."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import ArgumentParser
from safetensors.torch import load_model
from torch import Tensor

from ...errors import ArgumentError, ConfigError
from ...models import Decoder, LMZooForCausalLM
from ...tokenization import tokenizer_sha256
from ..arguments import quiet_libraries, say
from ..config import Config, Places, load_run_config
from ..config_check import ConfigCheck, keys_of
from ..data import TextDataModule
from ..data.tokenizer_cache import load_tokenizer
from ..fit.module import LanguageModule
from ..runs.environment import model_passport
from ..runs.evaluation_files import WEIGHTS_FILE, Origin, file_sha256
from ..runs.folder import RunFolder

# whatever a run was trained in, it is evaluated so
PRECISION = "32-true"


@dataclass(frozen=True)
class LoadedRun:
    """A run with its weights loaded, in float32 on the CPU, wherever and in whatever it was trained.

    Attributes:
        folder: as it was named.
        config: its ``config.yaml``.
        module: the network in evaluation mode, its loss and how it is optimised.
        data: its text, with the tokenizer that the weights were trained with.
        weights: the name of their file: ``model.safetensors``, or a checkpoint of an unfinished run.
    """

    folder: Path
    config: Config
    module: LanguageModule
    data: TextDataModule
    weights: str

    @property
    def network(self) -> Decoder:
        return self.module.network

    @property
    def seed(self) -> int:
        return int(self.config["seed_everything"])

    def passport(self, split: str | None = None) -> dict[str, Any]:
        """What has to stand beside a figure: of its ``split``, else of the tokenizer alone; of model and code."""
        text = self.data.passport(split) if split else {"tokenizer_sha256": tokenizer_sha256(self.data.tokenizer)}
        start = RunFolder(self.folder).origin() if self.config.get("init_from") is not None else None
        length, counts = self.data.context_length, self.module.counts
        return {**text, **model_passport(counts, train_length=length, dtype=PRECISION, seed=self.seed, start=start)}

    def origin(self, version: int, splits: Iterable[str] = (), data: TextDataModule | None = None) -> Origin:
        """What figures of these splits, of the run's text or of ``data``, are made from; see :class:`Origin`."""
        texts = {split: str((data or self.data).prepared(split).meta["text_sha256"]) for split in splits}
        return Origin(version=version, weights_sha256=file_sha256(self.folder / WEIGHTS_FILE), text_sha256=texts)


def load_run(folder: str | Path, *, allow_classes: bool = False) -> LoadedRun:
    """The run in a folder, by its exported weights, else by those of its newest checkpoint.

    Raises:
        ConfigError: the folder holds no run, or neither exported weights nor a checkpoint; its configuration names
            classes outside lmzoo, which ``allow_classes`` imports.
    """
    quiet_libraries()
    run = RunFolder(folder)
    if not run.config_file.is_file():
        raise ConfigError(f"expected the folder of a run, with a config.yaml in it, got {run.folder}", key="--run_dir")
    config, places = load_run_config(run.config_file)
    module, data = _build(config, places, allow_classes)
    weights = load_weights(module, data, run, config.get("init_from"))
    module.network.float().eval()
    return LoadedRun(run.folder, config, module, data, weights)


def _build(config: Config, places: Places, allow_classes: bool) -> tuple[LanguageModule, TextDataModule]:
    """Model and data as the configuration describes them; nothing is read yet."""
    kinds: dict[str, type] = {"model": LanguageModule, "data": TextDataModule}
    check = ConfigCheck({key: keys_of(kind) for key, kind in kinds.items()}, places)
    check.allow_classes = allow_classes
    parser = ArgumentParser(exit_on_error=False)
    for key, kind in kinds.items():
        parser.add_class_arguments(kind, key)
    if missing := [key for key in kinds if not isinstance(config.get(key), Mapping)]:
        raise check.error("expected a mapping of keys: this is no configuration of a run", missing[0])
    checked = check.check({key: config[key] for key in kinds})
    # what follows from other keys is not written down; what a file leaves out has its default
    seed = config.get("seed_everything", 0)
    size = checked["data"].get("vocab_size", parser.get_default("data.vocab_size"))
    try:
        size = size or len(load_tokenizer(checked["data"].get("tokenizer")))
        checked["model"] |= {"vocab_size": size, "seed": seed}
        checked["data"] |= {"seed": seed}
        built = parser.instantiate(parser.parse_object(checked))
    except (ArgumentError, argparse.ArgumentError) as error:
        raise check.explain(error) from None
    return built.model, built.data


def load_weights(module: LanguageModule, data: TextDataModule, run: RunFolder, init_from: str | None) -> str:
    """The exported weights and tokenizer of a finished run, else the weights of its newest checkpoint; their file.

    Raises:
        ConfigError: there are none, or the text's tokenizer is not the one that the checkpoint was trained with.
    """
    module.configure_model()
    exported = run.folder / WEIGHTS_FILE
    if exported.is_file():
        load_model(LMZooForCausalLM.from_decoder(module.network), exported)
        data.use_tokenizer(load_tokenizer(str(run.folder)))
        return exported.name
    newest = run.newest_checkpoint()
    if newest is None:
        raise ConfigError(f"{run.folder} holds neither model.safetensors nor a checkpoint", key="run_dir")
    if init_from is not None:
        data.use_tokenizer(load_tokenizer(init_from))
    say(f"the run is not finished; evaluating its checkpoint {newest.name}")
    loaded = torch.load(newest, map_location="cpu", weights_only=True)
    module.load_state_dict(loaded["state_dict"])
    if tokenizer_sha256(data.tokenizer) != loaded[type(data).__qualname__]["tokenizer_sha256"]:
        raise ConfigError("the text gives another tokenizer than the run was trained with; finish the run first")
    return newest.name


@dataclass(frozen=True)
class SampledWindows:
    """Windows that begin at the same tokens whatever their length.

    Attributes:
        starts: index of each window's first token in the split.
        input_ids: (W, longest length).
    """

    starts: list[int]
    input_ids: Tensor


def take_windows(data: TextDataModule, split: str, lengths: Sequence[int], count: int) -> SampledWindows:
    """``count`` windows of the longest length, spread evenly from the split's first token to its last.

    They overlap where the split is shorter than all of them. Separators stand between documents, as in training.

    Raises:
        ConfigError: the corpus has no such split, or it is shorter than a window.
    """
    check_split(data, split)
    prepared = data.prepared(split)
    longest = max(lengths)
    room = prepared.length - longest
    if room < 0:
        raise ConfigError(
            f"expected at most {prepared.length}, the tokens of the {split} split, got {longest}", key="lengths"
        )
    starts = sorted({round(k * room / max(1, count - 1)) for k in range(count)})
    rows = [prepared.tokens[start : start + longest].astype(np.int64) for start in starts]
    return SampledWindows(starts, torch.from_numpy(np.stack(rows)))


def check_split(data: TextDataModule, split: str) -> None:
    """Raise :class:`ConfigError` unless the run's corpus has text for the split."""
    if split not in data.splits:
        raise ConfigError(f"the run's corpus has {', '.join(data.splits)} text, got {split!r}", key="split")
