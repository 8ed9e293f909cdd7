"""Who is evaluated on what: a run or a saved model, and the text for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_model
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from ...errors import ArgumentError, ConfigError
from ...models import LMZooForCausalLM
from ...tokenization import tokenizer_sha256
from ..arguments import say
from ..config import load_yaml
from ..data import load_source
from ..data.cache import cache_root
from ..data.corpus import SPLITS
from ..data.encode import prepare_split
from ..data.tokenizer_cache import load_tokenizer
from ..data.wikitext import WikiText
from ..fit.lightning_cli import TrainingCLI
from ..runs.evaluation_files import RECORDS_FILE
from .extrapolate.conventions import wikitext_pages
from .extrapolate.stream import Text


def load_weights(cli: TrainingCLI) -> None:
    """The exported weights and tokenizer of a finished run, else the weights of its newest checkpoint.

    Raises:
        ConfigError: there are none, or the text's tokenizer is not the one that the checkpoint was trained with.
    """
    exported = cli.run.folder / "model.safetensors"
    if exported.is_file():
        load_model(LMZooForCausalLM.from_decoder(cli.model.network), exported)
        cli.datamodule.use_tokenizer(load_tokenizer(str(cli.run.folder)))
        return
    newest = cli.run.newest_checkpoint()
    if newest is None:
        raise ConfigError(f"{cli.run.folder} holds neither model.safetensors nor a checkpoint", key="run_dir")
    if cli.config.init_from is not None:
        cli.datamodule.use_tokenizer(load_tokenizer(cli.config.init_from))
    say(f"the run is not finished; evaluating its checkpoint {newest.name}")
    loaded = torch.load(newest, map_location="cpu", weights_only=True)
    cli.model.load_state_dict(loaded["state_dict"])
    trained_with = loaded[type(cli.datamodule).__qualname__]["tokenizer_sha256"]
    if tokenizer_sha256(cli.datamodule.tokenizer) != trained_with:
        raise ConfigError("the text gives another tokenizer than the run was trained with; finish the run first")


@dataclass(frozen=True)
class SampledWindows:
    """Windows that begin at the same tokens whatever their length.

    Attributes:
        starts: index of each window's first token in the split.
        input_ids: (W, longest length).
    """

    starts: list[int]
    input_ids: Tensor


def open_run(folder: str | Path, *, allow_classes: bool = False) -> tuple[TrainingCLI, str]:
    """The run with its weights loaded, on the CPU wherever it was trained, and the name of the weights' file.

    Raises:
        ConfigError: the folder holds no run, or neither exported weights nor a checkpoint.
    """
    words = ["--run_dir", str(folder), "--trainer.accelerator", "cpu", "--trainer.devices", "1"]
    words += ["--trainer.strategy", "auto", "--trainer.num_nodes", "1", "--trainer.precision", "32-true"]
    cli = TrainingCLI("validate", [*words, *(["--allow_classes"] if allow_classes else [])])
    cli.model.configure_model()
    load_weights(cli)
    cli.model.network.float().eval()
    exported = cli.run.folder / "model.safetensors"
    newest = None if exported.is_file() else cli.run.newest_checkpoint()
    return cli, exported.name if newest is None else newest.name


def take_windows(cli: TrainingCLI, split: str, lengths: Sequence[int], count: int) -> SampledWindows:
    """``count`` windows of the longest length, spread evenly from the split's first token to its last.

    They overlap where the split is shorter than all of them. Separators stand between documents, as in training.

    Raises:
        ConfigError: the corpus has no such split, or it is shorter than a window.
    """
    data = cli.datamodule
    if split not in data.splits:
        raise ConfigError(f"the run's corpus has {', '.join(data.splits)} text, got {split!r}", key="split")
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


# As Hugging Face names them: in one file, or the list of the files they are spread over.
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


def load_pretrained(place: str | Path, *, hub: bool = False, allow_classes: bool = False) -> Any:
    """A causal model in evaluation mode, from a folder with safetensors files or, with ``hub``, by its name there.

    With ``allow_classes`` a model of ours may name parts from outside lmzoo, which are imported. Code that comes with
    a model is not run even then.

    Raises:
        ConfigError: there is no such model, it wants to run code of its own, or its files lack weights.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    from ...models import LMZooConfig, LMZooForCausalLM

    folder = Path(place)
    if not (hub and not folder.exists()) and not any((folder / name).is_file() for name in _WEIGHTS):
        raise ConfigError(f"expected a folder with {' or '.join(_WEIGHTS)} in it, got {folder}", key="run")
    try:
        # ours alone are trusted: what allow_classes stands for are class paths, not the code in a model's folder
        ours = allow_classes and _model_type(folder) == LMZooConfig.model_type
        model, info = (LMZooForCausalLM if ours else AutoModelForCausalLM).from_pretrained(
            str(place), trust_remote_code=ours, use_safetensors=True, output_loading_info=True
        )
    except ArgumentError as error:
        if error.argument != "class_path" or allow_classes:
            raise
        raise ConfigError(
            f"{place} holds {error.given}, which is outside lmzoo, and loading it would run its code; "
            "add --allow_classes to the command line if you trust it",
            key="run",
        ) from error
    except (OSError, ValueError, SafetensorError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ConfigError(
            f"expected a causal model that loads without code of its own, which is never run, got {place} ({reason})",
            key="run",
        ) from error
    if info["missing_keys"]:  # the library would draw them at random
        raise ConfigError(f"{place} lacks weights of its model: {sorted(info['missing_keys'])}", key="run")
    return model.eval()


def _model_type(folder: Path) -> str | None:
    file = folder / "config.json"
    content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return content.get("model_type") if isinstance(content, dict) else None


DEFAULT_SOURCE = "python-docs"
_OUTPUT = Path("runs") / "extrapolation"


@dataclass(frozen=True)
class Subject:
    """A model to evaluate, loaded on the CPU.

    Attributes:
        label: what tables and figures call it.
        folder: of a run of ours; None for other models.
        data: the run's keys of its text: source, raw, detokenize, cache_dir.
        train_length, seed: of the run; None where they are not known.
    """

    label: str
    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    folder: Path | None = None
    data: dict[str, Any] = field(default_factory=dict)
    train_length: int | None = None
    seed: int | None = None

    @property
    def home(self) -> Path:
        """Where its records go: the run's folder, one under runs/ for other models."""
        return self.folder or _OUTPUT / self.name

    @property
    def name(self) -> str:
        """The label as a folder's name."""
        return self.label.replace("/", "_")

    def records_file(self, output: str | Path | None) -> Path:
        """The records of its extrapolation: in its home, or in a folder of its own inside ``output``."""
        return (self.home if output is None else Path(output) / self.name) / RECORDS_FILE


def is_run(place: str) -> bool:
    """Whether this is the folder of a run of ours, finished or not."""
    file = Path(place) / "config.yaml"
    return file.is_file() and "model" in load_yaml(file)


def label_of(place: str) -> str:
    """``runs/attention/alibi/seed-0`` is ``alibi/seed-0``, ``runs/tiny`` is ``tiny``, a name on the hub itself."""
    folder = Path(place)
    if not folder.exists():
        return place
    folder = folder.resolve()
    return f"{folder.parent.name}/{folder.name}" if folder.name.startswith("seed-") else folder.name


def load_subject(place: str, *, label: str, allow_classes: bool = False) -> Subject:
    """Load a run (its exported weights, else its newest checkpoint), a model's folder, or a model of the hub.

    Raises:
        ConfigError, ArgumentError: it cannot be loaded.
    """
    if not is_run(place):
        return Subject(label, load_pretrained(place, hub=True, allow_classes=allow_classes), load_tokenizer(place))
    cli, _ = open_run(place, allow_classes=allow_classes)
    data = cli.datamodule
    length = int(data.context_length)
    keys = {"source": data.source, "raw": data.raw, "detokenize": data.detokenize, "cache": data.cache}
    return Subject(
        label,
        # the wrapper tells the training length to what asks the model for it
        LMZooForCausalLM.from_decoder(cli.model.network, train_length=length).eval(),
        data.tokenizer,
        Path(place),
        keys,
        length,
        int(cli.config.seed_everything),
    )


def load_text(
    subject: Subject,
    protocol: str | None = None,
    *,
    split: str | None = None,
    source: str | None = None,
    raw: bool = False,
    detokenize: bool = False,
) -> Text:
    """A split of ``source``, or of the run's own; test if there is one and ``split`` does not say otherwise.

    A ``protocol`` of another convention may cut documents in its own way.

    Raises:
        ConfigError: the corpus has no such split.
        ArgumentError: the source is unknown.
    """
    own: dict[str, Any] = {"source": DEFAULT_SOURCE, "raw": False, "detokenize": False} | subject.data
    cache = own.pop("cache", None) or cache_root()
    if source is not None:
        own = {"source": source, "raw": raw, "detokenize": detokenize}
    corpus = load_source(own["source"], raw=own["raw"], detokenize=own["detokenize"])
    if split is None:
        split = next((name for name in ("test", "validation") if corpus.has(name)), "test")
    if not corpus.has(split):
        there = ", ".join(name for name in SPLITS if corpus.has(name))
        raise ConfigError(f"{corpus.name} has {there} text, got {split!r}", key="split")
    more = {"split": split, "raw": own["raw"], "detokenize": own["detokenize"]}
    documents = list(corpus.documents(split))
    if protocol == "lm-eval" and isinstance(corpus, WikiText):
        documents = list(wikitext_pages("".join(documents)))
    counted = split != "train"  # only these are prepared with bytes and words of every token
    prepared = prepare_split(corpus, split, subject.tokenizer, cache) if counted else None
    return Text(documents, corpus.name, corpus.word_rule, more, prepared)
