import pytest
import yaml
from lmzoo.errors import ConfigError
from lmzoo.train.report.claims.claim import read_claims


@pytest.fixture
def claims(tmp_path):
    """A claims file beside its comparison; ``claims({"one": {"direction": "up"}})`` changes keys of its claim."""
    (tmp_path / "two.yaml").write_text(yaml.safe_dump({"name": "two runs", "variants": {"base": None, "new": None}}))

    def write(change=None, *, drop=(), **top):
        one = {"sentence": "It is\nbetter.", "source": "abstract", "metric": "cross_entropy", "direction": "lower"}
        one |= {"decided_by": {"comparison": "two.yaml", "variant": "new", "baseline": "base"}, **(change or {})}
        for key in drop:
            del one[key]
        paper = {"title": "A title", "arxiv": "0000.00000", "status": "withdrawn"}
        file = tmp_path / "paper.yaml"
        file.write_text(yaml.safe_dump({"paper": paper, "claims": {"one": one}} | top, sort_keys=False))
        return file

    return write


def test_defaults_are_filled_in(claims):
    read = read_claims(claims({"protocol": {"multiple": 4}}))
    assert (read.paper.file, read.paper.arxiv) == ("paper", "0000.00000")
    (one,) = read.claims
    assert one.sentence == "It is better."
    assert one.protocol == {"windows": "non_overlapping", "multiple": 4, "split": "test"}
    assert (one.comparison, one.variant, one.baseline) == ("two runs", "new", "base")
    assert (one.size, one.unit) == (None, "absolute")


def test_a_claim_that_nothing_decides_has_a_reason_alone(claims):
    drop = ("metric", "direction", "decided_by")
    assert read_claims(claims({"not_tested": "no runs"}, drop=drop)).claims[0].not_tested == "no runs"
    with pytest.raises(ConfigError, match=r"paper.yaml:\d+: claims.one.not_tested: expected the reason alone"):
        read_claims(claims({"not_tested": "no runs"}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sentense": "x"}, r"paper.yaml:\d+: claims.one.sentense: unknown key; nearest valid keys: sentence"),
        ({"metric": "tokenperplexity"}, "claims.one.metric: expected .* got 'tokenperplexity'; nearest: token_perplex"),
        ({"direction": "up"}, "claims.one.direction: expected one of those there are, got 'up'"),
        ({"protocol": {"windos": "sliding"}}, "claims.one.protocol.windos: unknown key; nearest valid keys: windows"),
        ({"protocol": {"windows": "slide"}}, "claims.one.protocol.windows: .* got 'slide'; nearest: sliding"),
        ({"protocol": {"multiple": 0}}, "claims.one.protocol.multiple: expected a whole number, 1 or more, got 0"),
        ({"protocol": {"multiple": True}}, "claims.one.protocol.multiple: expected a whole number"),
        ({"size": {"value": 0.1}}, "claims.one.size.unit: expected this key, which is not there"),
        ({"size": {"value": -0.1, "unit": "absolute"}}, "claims.one.size.value: expected a number above 0"),
        ({"size": {"value": 1, "unit": "relative"}}, "claims.one.size.value: expected a part of the whole"),
        ({"size": {"value": 1, "unit": "percent"}}, "claims.one.size.unit: .* nearest: "),
        ({"direction": "at_most"}, "claims.one.size: expected the bound, value and unit, for the direction at_most"),
        ({"decided_by": {"comparison": "two.yaml", "variant": "new"}}, "claims.one.decided_by.baseline: expected this"),
        (
            {"decided_by": {"comparison": "two.yaml", "variant": "knew", "baseline": "base"}},
            "claims.one.decided_by.variant: .* nearest: new",
        ),
        (
            {"decided_by": {"comparison": "two.yaml", "variant": "base", "baseline": "base"}},
            "expected another variant than the baseline",
        ),
        ({"decided_by": {"comparison": "tow.yaml", "variant": "new", "baseline": "base"}}, "no such file.*two.yaml"),
        ({"sentence": 3}, "claims.one.sentence: expected a text, got 3"),
    ],
)
def test_what_cannot_be_used_is_named(claims, change, message):
    with pytest.raises(ConfigError, match=message):
        read_claims(claims(change))


def test_the_file_itself_is_checked(claims):
    with pytest.raises(ConfigError, match="claim: unknown key; nearest valid keys: claims"):
        read_claims(claims(claim={}))
    with pytest.raises(ConfigError, match="claims: expected at least one claim"):
        read_claims(claims(claims={}))
    with pytest.raises(ConfigError, match=r"paper.arxiv: expected a text, got 2505.1 \(a number"):
        read_claims(claims(paper={"title": "t", "arxiv": 2505.1, "status": "s"}))
    with pytest.raises(ConfigError, match=r"paper\.status: expected this key"):
        read_claims(claims(paper={"title": "t", "arxiv": "2505.1"}))
