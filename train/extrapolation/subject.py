"""Who is evaluated on what: a run or a saved model, and the text for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedTokenizerBase

from ...models import LMZooForCausalLM
from ..config import ConfigError, load_yaml
from ..data import load_source
from ..data.cache import cache_root
from ..data.corpus import SPLITS
from ..data.prepare import prepare_split
from ..data.tokenizer_cache import load_tokenizer
from ..data.wikitext import WikiText
from ..diagnose_run import open_run
from ..pretrained import load_pretrained
from .conventions import wikitext_pages
from .records import RECORDS_FILE
from .stream import Text

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
