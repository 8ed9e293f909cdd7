"""Reading a claims file, and refusing what cannot be decided before any result is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from ....errors import ConfigError, nearest
from ...config import Config, Places, find_config, load_yaml, load_yaml_with_places
from .claim import Claim, ClaimsFile, Direction, Metric, Paper, Unit
from .metrics import METRICS

_FILE = ("paper", "claims")
_PAPER = ("title", "arxiv", "status")
_CLAIM = ("sentence", "source", "metric", "protocol", "direction", "size", "decided_by", "not_tested")
_SIZE = ("value", "unit")
_DECIDED_BY = ("comparison", "variant", "baseline")


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
    reader = _Reader(path, places)
    reader.check_keys(raw, "", _FILE, required=_FILE)
    paper = reader.mapping(raw["paper"], "paper")
    reader.check_keys(paper, "paper", _PAPER, required=_PAPER)
    words = {key: reader.text(paper[key], f"paper.{key}") for key in _PAPER}
    named = reader.mapping(raw["claims"], "claims")
    if not named:
        raise reader.error("expected at least one claim: a name and what it says", "claims")
    claims = tuple(reader.claim(str(name), value) for name, value in named.items())
    return ClaimsFile(Paper(path.stem, **words), claims)


class _Reader:
    """Checks of one file's values, with their places for messages."""

    def __init__(self, path: Path, places: Places) -> None:
        self.path = path
        self.places = places

    def claim(self, name: str, value: object) -> Claim:
        """One claim: either measured, with all that decides it, or not tested with a reason."""
        key = f"claims.{name}"
        raw = self.mapping(value, key)
        self.check_keys(raw, key, _CLAIM, required=("sentence", "source"))
        sentence, source = (self.text(raw[part], f"{key}.{part}") for part in ("sentence", "source"))
        if "not_tested" in raw:
            others = [part for part in raw if part not in ("sentence", "source", "not_tested")]
            if others:
                message = f"expected the reason alone, since nothing decides the claim; leave out {', '.join(others)}"
                raise self.error(message, f"{key}.not_tested")
            return Claim(name, sentence, source, self.text(raw["not_tested"], f"{key}.not_tested"))
        self.check_keys(raw, key, _CLAIM, required=("metric", "direction", "decided_by"))
        metric_name = self.one_of(raw["metric"], f"{key}.metric", tuple(METRICS))
        metric = METRICS[metric_name]
        direction = self.one_of(raw["direction"], f"{key}.direction", get_args(Direction))
        size, unit = self.size(raw.get("size"), f"{key}.size", direction, metric)
        decided_by = self.decided_by(raw["decided_by"], f"{key}.decided_by", metric)
        return Claim(
            name,
            sentence,
            source,
            metric=metric_name,
            protocol=self.settings(raw.get("protocol") or {}, f"{key}.protocol", metric),
            direction=direction,
            size=size,
            unit=unit,
            **decided_by,
        )

    def size(self, given: object, key: str, direction: str, metric: Metric) -> tuple[float | None, Unit]:
        """The size and its unit; bounds need one, and a relative one lies above -1."""
        if given is None:
            if direction in ("at_most", "at_least"):
                raise self.error(f"expected the bound, value and unit, for the direction {direction}", key)
            return None, metric.units[0]
        raw = self.mapping(given, key)
        self.check_keys(raw, key, _SIZE, required=_SIZE)
        unit: Unit = self.one_of(raw["unit"], f"{key}.unit", metric.units)
        value = raw["value"]
        number = type(value) in (int, float)
        bound = direction in ("at_most", "at_least")
        if not number or not (bound or value > 0):
            what = "a number" if bound else "a number above 0; the direction says which way"
            raise self.error(f"expected {what}, got {value!r}", f"{key}.value")
        if unit == "relative" and (value <= -1 or (direction == "lower" and value >= 1)):
            raise self.error(f"expected a part of the whole, such as 0.04 for 4 %, got {value!r}", f"{key}.value")
        return float(value), unit

    def settings(self, given: object, key: str, metric: Metric) -> Config:
        """Every setting of the metric, with the default where the file says nothing."""
        raw = self.mapping(given, key)
        self.check_keys(raw, key, tuple(metric.settings))
        found: Config = {}
        for name, setting in metric.settings.items():
            value = raw.get(name, setting.default)
            if setting.choices and value not in setting.choices:
                self.one_of(value, f"{key}.{name}", [str(choice) for choice in setting.choices])
            if not setting.choices and value is not setting.default and (type(value) is not int or value < 1):
                raise self.error(f"expected a whole number, 1 or more, got {value!r}", f"{key}.{name}")
            found[name] = value
        return found

    def decided_by(self, given: object, key: str, metric: Metric) -> dict[str, Any]:
        """The comparison's name and file, the variant and the baseline, all of which have to be there."""
        raw = self.mapping(given, key)
        needed = ("comparison", "variant") if metric.is_difference else _DECIDED_BY
        self.check_keys(raw, key, _DECIDED_BY, required=needed)
        file = self.path.parent / self.text(raw["comparison"], f"{key}.comparison")
        comparison = load_yaml(file)
        variants = [str(name) for name in comparison.get("variants") or {}]
        names = {part: self.one_of(raw[part], f"{key}.{part}", variants) for part in needed if part != "comparison"}
        if raw.get("baseline") is not None:
            names["baseline"] = self.one_of(raw["baseline"], f"{key}.baseline", variants)
        if names["variant"] == names.get("baseline"):
            raise self.error("expected another variant than the baseline", f"{key}.variant")
        return {"comparison": str(comparison.get("name") or file.stem), "comparison_file": file.name, **names}

    def check_keys(self, raw: Mapping[Any, Any], key: str, known: Sequence[str], required: Sequence[str] = ()) -> None:
        """Refuse keys that are not known, and the lack of those that are needed."""
        for name in raw:
            if name not in known:
                close = ", ".join(nearest(str(name), known)) if known else "none"
                raise self.error(f"unknown key; nearest valid keys: {close}", f"{key}.{name}".lstrip("."))
        for name in required:
            if name not in raw:
                raise self.error("expected this key, which is not there", f"{key}.{name}".lstrip("."))

    def mapping(self, value: object, key: str) -> dict[str, Any]:
        """A mapping."""
        if not isinstance(value, Mapping):
            raise self.error(f"expected a mapping of keys to values, got {value!r}", key)
        return dict(value)

    def text(self, value: object, key: str) -> str:
        """A text that is not empty."""
        if not isinstance(value, str) or not value.strip():
            raise self.error(f"expected a text, got {value!r} (a number such as arXiv's wants quotes)", key)
        return " ".join(value.split())

    def one_of(self, value: object, key: str, known: Sequence[Any]) -> Any:
        """One of the known names."""
        if value not in known:
            close = ", ".join(nearest(str(value), known))
            raise self.error(f"expected one of those there are, got {value!r}; nearest: {close}", key)
        return value

    def error(self, message: str, key: str) -> ConfigError:
        """A complaint about a key, with the file and, where it is written down, the line."""
        return ConfigError(message, key=key, place=self.places.find(key) or str(self.path))
