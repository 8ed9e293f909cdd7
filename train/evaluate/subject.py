"""Who is evaluated on what: a run or a saved model, and the text for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedTokenizerBase

from ...errors import ConfigError
from ...models import LMZooForCausalLM
from ..config import load_yaml
from ..data.cache import cache_root
from ..data.corpus import SPLITS
from ..data.encode import prepare_split
from ..data.tokenizer_cache import load_tokenizer
from ..data.wikitext import WikiText
from ..runs.evaluation_files import RECORDS_FILE, WEIGHTS_FILE, file_sha256
from .extrapolate.conventions import wikitext_pages
from .extrapolate.passport import check_lengths
from .extrapolate.stream import Text
from .frame import DTYPES, corpus_of, usual_split
from .loaded_run import load_run
from .pretrained import load_pretrained

DEFAULT_SOURCE = "python-docs"
_OUTPUT = Path("runs") / "extrapolation"


@dataclass(frozen=True)
class Subject:
    """A model to evaluate, loaded on the CPU.

    Attributes:
        label: what tables and figures call it.
        folder: of a run of ours; None for other models.
        data: the run's keys of its text, as in its configuration.
        train_length, seed: of the run; None where they are not known.
        weights_sha256: of the file that its weights were loaded from; None where that is none of its folder.
    """

    label: str
    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    folder: Path | None = None
    data: Mapping[str, Any] = field(default_factory=lambda: {"source": DEFAULT_SOURCE})
    train_length: int | None = None
    seed: int | None = None
    weights_sha256: str | None = None

    @property
    def home(self) -> Path:
        """Where its records go: the run's folder, one under runs/ for other models."""
        return self.folder or _OUTPUT / self.name

    @property
    def name(self) -> str:
        return self.label.replace("/", "_")

    def records_file(self, output: str | Path | None) -> Path:
        """The records of its extrapolation: in its home, or in a folder of its own inside ``output``."""
        return (self.home if output is None else Path(output) / self.name) / RECORDS_FILE


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
    file = Path(place) / "config.yaml"
    weights = file_sha256(Path(place) / WEIGHTS_FILE)  # before they are read: a run may be trained on meanwhile
    if not (file.is_file() and "model" in load_yaml(file)):
        model = load_pretrained(place, hub=True, allow_classes=allow_classes)
        return Subject(label, model, load_tokenizer(place), weights_sha256=weights)
    run = load_run(place, allow_classes=allow_classes)
    length = int(run.data.context_length)
    # the wrapper tells the training length to what asks the model for it
    wrapped = LMZooForCausalLM.from_decoder(run.network, train_length=length).eval()
    return Subject(label, wrapped, run.data.tokenizer, run.folder, run.config["data"], length, run.seed, weights)


def load_asked(options: Any, place: str, label: str, lengths: list[int]) -> Subject:
    """The model at a place, on the device and in the precision that a command line asks for.

    Raises:
        ConfigError, ArgumentError: it cannot be loaded, or has no positions for one of the lengths.
    """
    subject = load_subject(place, label=label, allow_classes=options.allow_classes)
    check_lengths(subject.model, lengths)
    subject.model.to(options.device, DTYPES[options.dtype])
    return subject


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
    data = subject.data if source is None else {"source": source, "raw": raw, "detokenize": detokenize}
    corpus = corpus_of(data)
    split = split or usual_split(corpus)
    if not corpus.has(split):
        known = ", ".join(name for name in SPLITS if corpus.has(name))
        raise ConfigError(f"{corpus.name} has {known} text, got {split!r}", key="split")
    more = {"split": split, "raw": bool(data.get("raw")), "detokenize": bool(data.get("detokenize"))}
    documents = list(corpus.documents(split))
    if protocol == "lm-eval" and isinstance(corpus, WikiText):
        documents = list(wikitext_pages("".join(documents)))
    counted = split != "train"  # only these are prepared with bytes and words of every token
    cache = cache_root(subject.data.get("cache_dir"))
    prepared = prepare_split(corpus, split, subject.tokenizer, cache) if counted else None
    return Text(documents, corpus.name, corpus.word_rule, more, prepared)
