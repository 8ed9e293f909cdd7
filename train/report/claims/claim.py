"""Claims of a paper as a claims file states them, and the reader that refuses what no result could decide."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ....errors import ConfigError, nearest
from ...config import Config, Places, find_config, load_yaml, load_yaml_with_places
from .metrics import METRICS, Metric, Unit

Direction = Literal["lower", "higher", "at_most", "at_least"]


@dataclass(frozen=True)
class Paper:
    """Whose claims a file states.

    Attributes:
        arxiv: its number there.
        status: such as published or withdrawn.
        file: name of the claims file without its ending.
    """

    file: str
    title: str
    arxiv: str
    status: str


@dataclass(frozen=True)
class Claim:
    """One claim and what decides it.

    Attributes:
        name: the key in the file.
        sentence: what the paper claims, in our words.
        source: where it says so.
        not_tested: why none of our comparisons decides it; empty where one does, and then the rest is there.
        metric: one of :data:`lmzoo.train.report.claims.metrics.METRICS`.
        protocol: the metric's settings, every one with its value.
        direction: ``lower`` or ``higher`` than the baseline; ``at_most`` or ``at_least`` the size away from it.
        size: of the claimed difference: a positive amount for ``lower`` and ``higher``, a signed bound for the others.
        unit: ``relative``: a ratio to the baseline less 1, tested on logarithms; ``absolute``: in the metric's unit.
        comparison: the name of the comparison.
        comparison_file: its file.
        variant: the one the claim is about.
        baseline: what it is held against; None where the metric is a difference of its own.
    """

    name: str
    sentence: str
    source: str
    not_tested: str = ""
    metric: str = ""
    protocol: Mapping[str, Any] = field(default_factory=dict)
    direction: Direction = "lower"
    size: float | None = None
    unit: Unit = "relative"
    comparison: str = ""
    comparison_file: str = ""
    variant: str = ""
    baseline: str | None = None

    @property
    def is_bound(self) -> bool:
        """Whether the size is a bound that the difference has to keep, and not a size that it has to reach."""
        return self.direction in ("at_most", "at_least")

    @property
    def variants(self) -> list[str]:
        """The variants whose runs decide, the baseline first."""
        return [name for name in (self.baseline, self.variant) if name]


@dataclass(frozen=True)
class ClaimsFile:
    """A claims file, read and checked."""

    paper: Paper
    claims: tuple[Claim, ...]


def shipped_claims() -> list[Path]:
    """The claims files that come with lmzoo, by name."""
    return sorted((Path(__file__).resolve().parents[3] / "configs" / "claims").glob("*.yaml"))


def read_claims(file: str | Path) -> ClaimsFile:
    """Read and check one claims file; see those in ``configs/claims`` for its keys.

    Raises:
        ConfigError: naming file, key, what was expected and the nearest valid names.
    """
    path = find_config(file)
    raw, places = load_yaml_with_places(path)
    whole = _Part(raw, "", path, places)
    whole.check(("paper", "claims"))
    paper = whole.part("paper")
    words = ("title", "arxiv", "status")
    paper.check(words)
    of_paper = Paper(path.stem, **{key: paper.text(key) for key in words})
    named = whole.part("claims")
    if not named.raw:
        raise whole.error("expected at least one claim: a name and what it says", "claims")
    return ClaimsFile(of_paper, tuple(_claim(named.part(name), str(name)) for name in named.raw))


class _Part:
    """A mapping of the file. What cannot be used is told with the file, the line and the key.

    Args:
        raw: as YAML has it.
        key: of the mapping itself; empty for the whole file.
        file: that it stands in.
        places: where each key stands.
    """

    def __init__(self, raw: object, key: str, file: Path, places: Places) -> None:
        self.key, self.file, self.places = key, file, places
        if not isinstance(raw, Mapping):
            raise ConfigError(f"expected a mapping of keys to values, got {raw!r}", key=key, place=self._place(key))
        self.raw = dict(raw)

    def check(self, known: Iterable[str], required: Iterable[str] | None = None) -> None:
        """Refuse keys that are not known, and the lack of those that are required: all of them if none are given."""
        known = tuple(known)
        for name in self.raw:
            if name not in known:
                close = ", ".join(nearest(str(name), known)) if known else "none"
                raise self.error(f"unknown key; nearest valid keys: {close}", name)
        for name in known if required is None else required:
            if name not in self.raw:
                raise self.error("expected this key, which is not there", name)

    def part(self, name: Any, *, optional: bool = False) -> _Part:
        """The mapping below a key; an optional one may be left out."""
        raw = self.raw.get(name) or {} if optional else self.raw[name]
        return _Part(raw, self._key(name), self.file, self.places)

    def text(self, name: str) -> str:
        """A text that is not empty."""
        value = self.raw[name]
        if not isinstance(value, str) or not value.strip():
            raise self.error(f"expected a text, got {value!r} (a number such as arXiv's wants quotes)", name)
        return " ".join(value.split())

    def one_of(self, name: str, known: Iterable[Any]) -> Any:
        """One of the known names."""
        value, known = self.raw[name], tuple(known)
        if value not in known:
            close = ", ".join(nearest(str(value), list(map(str, known))))
            raise self.error(f"expected one of those there are, got {value!r}; nearest: {close}", name)
        return value

    def error(self, message: str, name: object) -> ConfigError:
        """A complaint about a key, with the file and, where it is written down, the line."""
        key = self._key(name)
        return ConfigError(message, key=key, place=self._place(key))

    def _key(self, name: object) -> str:
        return f"{self.key}.{name}".lstrip(".")

    def _place(self, key: str) -> str:
        return self.places.find(key) or str(self.file)


def _claim(part: _Part, name: str) -> Claim:
    """One claim: either measured, with all that decides it, or not tested with a reason."""
    known = ("sentence", "source", "metric", "protocol", "direction", "size", "decided_by", "not_tested")
    part.check(known, required=("sentence", "source"))
    sentence, source = part.text("sentence"), part.text("source")
    if "not_tested" in part.raw:
        others = [key for key in part.raw if key not in ("sentence", "source", "not_tested")]
        if others:
            message = f"expected the reason alone, since nothing decides the claim; leave out {', '.join(others)}"
            raise part.error(message, "not_tested")
        return Claim(name, sentence, source, part.text("not_tested"))
    part.check(known, required=("metric", "direction", "decided_by"))
    metric = METRICS[part.one_of("metric", METRICS)]
    direction: Direction = part.one_of("direction", get_args(Direction))
    size, unit = _size(part, direction, metric)
    decided_by = _decided_by(part.part("decided_by"), metric)
    return Claim(
        name,
        sentence,
        source,
        metric=part.raw["metric"],
        protocol=_protocol(part.part("protocol", optional=True), metric),
        direction=direction,
        size=size,
        unit=unit,
        **decided_by,
    )


def _size(claim: _Part, direction: Direction, metric: Metric) -> tuple[float | None, Unit]:
    """The size and its unit; bounds need one, and a relative one lies above -1."""
    bound = direction in ("at_most", "at_least")
    if claim.raw.get("size") is None:
        if bound:
            raise claim.error(f"expected the bound, value and unit, for the direction {direction}", "size")
        return None, metric.units[0]
    part = claim.part("size")
    part.check(("value", "unit"))
    unit: Unit = part.one_of("unit", metric.units)
    value = part.raw["value"]
    if type(value) not in (int, float) or not (bound or value > 0):
        what = "a number" if bound else "a number above 0; the direction says which way"
        raise part.error(f"expected {what}, got {value!r}", "value")
    if unit == "relative" and (value <= -1 or (direction == "lower" and value >= 1)):
        raise part.error(f"expected a part of the whole, such as 0.04 for 4 %, got {value!r}", "value")
    return float(value), unit


def _protocol(part: _Part, metric: Metric) -> Config:
    """Every setting of the metric, with the default where the file says nothing."""
    part.check(metric.settings, required=())
    for name, value in part.raw.items():
        setting = metric.settings[name]
        if setting.choices:
            part.one_of(name, setting.choices)
        elif value is not setting.default and (type(value) is not int or value < 1):
            raise part.error(f"expected a whole number, 1 or more, got {value!r}", name)
    return {name: part.raw.get(name, setting.default) for name, setting in metric.settings.items()}


def _decided_by(part: _Part, metric: Metric) -> dict[str, Any]:
    """The comparison's name and file, the variant and the baseline, all of which have to be there."""
    known = ("comparison", "variant", "baseline")
    part.check(known, required=known[:2] if metric.is_difference else known)
    file = part.file.parent / part.text("comparison")
    comparison = load_yaml(file)
    variants = [str(name) for name in comparison.get("variants") or {}]
    without = metric.is_difference and part.raw.get("baseline") is None
    names = {key: part.one_of(key, variants) for key in (known[1:2] if without else known[1:])}
    if names["variant"] == names.get("baseline"):
        raise part.error("expected another variant than the baseline", "variant")
    return {"comparison": str(comparison.get("name") or file.stem), "comparison_file": file.name, **names}
