"""From JSON Lines to verdicts, with figures worked by hand."""

import math
from dataclasses import replace

import pytest
from lmzoo.errors import ConfigError
from lmzoo.train.figures.statistics.family import holm
from lmzoo.train.report.claims import verdicts, words
from lmzoo.train.report.claims.claim import Claim, ClaimsFile, Paper
from lmzoo.train.report.claims.metrics import METRICS
from lmzoo.train.report.claims.results import read_results

PAPER = Paper("paper", "A title", "0000.00000", "withdrawn")


def make_claim(metric, *, name="one", protocol=None, **fields):
    settings = {key: setting.default for key, setting in METRICS[metric].settings.items()} | (protocol or {})
    decided_by = {"comparison": "two", "comparison_file": "two.yaml", "variant": "new", "baseline": "base"}
    return Claim(name, "s", "p", metric=metric, protocol=settings, **{**decided_by, **fields})


def decide(folders, *claims):
    return verdicts([ClaimsFile(PAPER, claims)], read_results(folders))


def test_a_lower_perplexity_is_supported_as_a_ratio(results):
    folder = results("two", {"base": [5.0, 5.1, 5.2], "new": [4.9, 5.0, 5.11]})
    (one,) = decide([folder], make_claim("token_perplexity", direction="lower"))
    assert one.verdict == "supported"
    assert one.differences.values == pytest.approx((-0.1, -0.1, -0.09))
    assert one.differences.seeds == (0, 1, 2)
    half = 4.302652729911275 * 0.01 / math.sqrt(3) / math.sqrt(3)  # sd of the three is 0.01 / sqrt 3
    assert (one.low, one.high) == pytest.approx((-0.29 / 3 - half, -0.29 / 3 + half))
    assert one.variant_mean == pytest.approx((math.exp(4.9) + math.exp(5.0) + math.exp(5.11)) / 3)
    of_words = decide([folder], make_claim("word_perplexity", direction="lower"))[0]
    assert of_words.mean == pytest.approx(one.mean * 100 / 80)


def test_only_seeds_in_common_count_and_one_decides_nothing(results):
    folder = results("two", {"base": [5.0], "new": [4.0, 4.1, 4.2]})
    (one,) = decide([folder], make_claim("cross_entropy", unit="absolute", direction="lower"))
    assert (one.verdict, one.remark) == ("not tested", "one seed in common: no verdict below two")
    assert one.mean == pytest.approx(-1.0)
    assert math.isnan(one.low)
    assert one.as_row()["low"] is None


@pytest.mark.parametrize(
    ("fates", "direction", "verdict", "remark"),
    [
        ({"new": {2: "failed"}}, "lower", "supported", "1 of 3 seeds of new failed"),
        (
            {"new": {2: "diverged", 3: "not finished"}},
            "lower",
            "tie",
            "of the seeds that did not diverge it would be supported; 1 of 4 seeds of new diverged, 1 not finished",
        ),
        ({"base": {2: "diverged"}}, "lower", "supported", "1 of 3 seeds of base diverged"),
        ({"new": {2: "diverged"}}, "higher", "not supported", "the other way round; 1 of 3 seeds of new diverged"),
        (
            {"base": {2: "diverged"}},
            "higher",
            "tie",
            "of the seeds that did not diverge it would be not supported; 1 of 3 seeds of base diverged",
        ),
    ],
)
def test_a_seed_that_is_lost_does_not_vanish(results, fates, direction, verdict, remark):
    (read,) = read_results([results("two", {"base": [5.0, 5.1], "new": [4.9, 5.0001]})])
    of_seed = {name: {0: "finished", 1: "finished"} | fates.get(name, {}) for name in ("base", "new")}
    claim = make_claim("cross_entropy", unit="absolute", direction=direction)
    (one,) = verdicts([ClaimsFile(PAPER, [claim])], [replace(read, fates=of_seed)])
    assert (one.verdict, one.remark) == (verdict, remark)


def test_what_is_missing_is_said(results):
    folder = results("two", {"base": [5.0, 5.0]})
    other = make_claim("token_perplexity", comparison="three")
    reason = Claim("r", "s", "p", not_tested="a reason")
    far = make_claim("token_perplexity", protocol={"multiple": 4}, variant="base", baseline="new")
    found = decide([folder], make_claim("token_perplexity"), other, reason, far)
    assert {one.verdict for one in found} == {"not tested"}
    assert found[0].remark.startswith("no run of new has this figure")
    assert found[1].remark == "there are no results of the comparison three"
    assert found[2].remark == "a reason"
    assert found[3].remark.startswith("no run of base has this figure")


def test_unlike_figures_are_never_compared(results, extra_record):
    more = [extra_record("new", seed, 4.0, passport={"text_sha256": "other"}) for seed in (0, 1)]
    folder = results("two", {"base": [5.0, 5.1]}, more=more)
    (one,) = decide([folder], make_claim("token_perplexity"))
    assert one.remark == "the figures do not compare, since these differ: the text"


def test_a_figure_that_is_no_number_decides_nothing(results, extra_record):
    more = [extra_record("new", 0, 4.0), extra_record("new", 1, 4.0, token_perplexity=None)]
    folder = results("two", {"base": [5.0, 5.1]}, more=more)
    (one,) = decide([folder], make_claim("token_perplexity"))
    assert (one.verdict, one.remark) == ("not tested", "a run has no figure, or one without a logarithm")


def test_two_folders_of_one_comparison_are_refused(results):
    first = results("two", {"base": [5.0, 5.0]})
    second = results("elsewhere/two", {"base": [5.0, 5.0]})
    with pytest.raises(ConfigError, match="--runs: expected one folder of the comparison two"):
        decide([first, second], make_claim("token_perplexity"))


def test_holm_goes_over_what_was_tested_of_a_paper(results):
    folder = results("two", {"base": [5.0, 5.1, 5.2], "new": [4.9, 5.0, 5.11], "same": [5.0, 5.12, 5.19]})
    claims = [
        make_claim("token_perplexity"),
        make_claim("token_perplexity", variant="same"),
        Claim("r", "s", "p", not_tested="a reason"),
    ]
    found = decide([folder], *claims)
    own = [one.p for one in found[:2]]
    assert [one.adjusted_p for one in found[:2]] == pytest.approx(holm(own))
    assert math.isnan(found[2].adjusted_p)
    assert found[1].verdict == "tie"


def test_claims_without_runs_count_and_counted_ones_do_not(results, extra_record):
    more = [extra_record("new", s, x, passport={"head_parameters": 1}) for s, x in enumerate((4.9, 5.0, 5.14))]
    folder = results("two", {"base": [5.0, 5.1, 5.2]}, more=more)
    claim = make_claim("cross_entropy", unit="absolute", direction="lower")
    sized = replace(claim, name="sized", size=0.5)
    (alone,) = decide([folder], claim)
    assert 0.017 < alone.p < 0.05
    assert alone.verdict == "supported"
    more_claims = [make_claim("head_parameters", direction="lower"), replace(claim, comparison="three"), sized]
    first, counted, absent, of_size = decide([folder], claim, *more_claims)
    assert first.adjusted_p == of_size.adjusted_p == pytest.approx(3 * alone.p)
    assert (first.verdict, first.remark) == ("tie", "before Holm only")
    assert counted.verdict == "supported"
    assert math.isnan(counted.adjusted_p)
    assert math.isnan(absent.adjusted_p)
    # against the size it is the one test of its kind
    assert of_size.size_p == of_size.adjusted_size_p == pytest.approx(of_size.differences.p_value(-0.5))
    assert of_size.remark == "one of the claimed size excluded, a smaller one before Holm only"
    assert words.tests(of_size) == (
        f"3 seeds, p {alone.p:.3f}, by Holm {3 * alone.p:.3f}; of the claimed size p 0.001, by Holm 0.001"
    )
    assert of_size.as_row()["holm_adjusted_size_p"] == of_size.size_p


def documents(nats):
    return {"document": [0, 1], "nll": [60 * nats, 40 * nats], "tokens": [60, 40], "words": [50, 30], "bytes": [1, 1]}


def far_records(extra_record, nats):
    """Extrapolations at one and eight lengths; nats by variant, then (at one, at eight) by seed."""
    rows = []
    for variant, of_seed in nats.items():
        for seed, pair in enumerate(of_seed):
            for length, x in zip((64, 512), pair, strict=True):
                changes = {"intervention": None, "length": length, "longest": None, "by_document": documents(x)}
                rows.append(extra_record(variant, seed, x, **changes))
    return rows


def test_figures_at_a_multiple_and_their_growth(results, extra_record):
    rows = far_records(extra_record, {"base": [(5.0, 6.0), (5.1, 6.2)], "new": [(5.2, 5.25), (5.2, 5.3)]})
    rows.append({**rows[1], "intervention": "window 8", "cross_entropy": 99.0})
    folder = results("two", {"base": [1.0, 1.0], "new": [1.0, 1.0]}, more=rows)
    at = {"protocol": {"multiple": 8}, "unit": "absolute"}
    far, growth, alone = decide(
        [folder],
        make_claim("cross_entropy", **at, direction="lower", size=0.8),
        make_claim("length_growth", **at, direction="lower"),
        make_claim("length_growth", **at, direction="at_most", size=0.6, baseline=None),
    )
    assert far.differences.values == pytest.approx((-0.75, -0.9))
    assert far.documents == pytest.approx((-0.825, -0.825))  # every document alike, the mean over seeds
    assert growth.differences.values == pytest.approx((-0.95, -1.0))
    assert alone.differences.values == pytest.approx((0.05, 0.1))
    assert alone.remark == "before Holm only"  # 0.075 +- 12.7 x 0.025 = at most 0.39; one of three claims
    assert alone.p == pytest.approx(1 - 2 / math.pi * math.atan(0.525 / 0.025))


def test_exact_match_sums_its_strata(results):
    def row(variant, seed, digits, right, operation="addition"):
        one = {"variant": variant, "seed": seed, "probe": "exact_match", "operation": operation, "digits": digits}
        passport = {"problems_sha256": "p", "train_digits": 3}
        return one | {
            "kind": "carry",
            "trained_length": digits < 4,
            "right": right,
            "problems": 50,
            "passport": passport,
        }

    numbers = [
        row(v, s, d, r) for v, base in (("base", 10), ("new", 30)) for s in (0, 1) for d, r in ((2, base), (3, 5))
    ]
    numbers += [row("new", 0, 4, 50), row("base", 0, 2, 50, "subtraction")]
    folder = results("two", {"base": [5.0]}, numbers=numbers)
    (one,) = decide(
        [folder], make_claim("exact_match", unit="absolute", direction="higher", protocol={"lengths": "trained"})
    )
    assert one.differences.values == pytest.approx((0.2, 0.2))
    assert (one.variant_mean, one.baseline_mean) == pytest.approx((0.35, 0.15))
    assert one.remark == "every seed differs by the same: without spread there is no test"


def test_analyses_are_read_and_an_unshifted_loss_counts_as_debiased(results):
    def deciles(variant, seed, x, logits="plain"):
        row = {"variant": variant, "seed": seed, "kind": "deciles", "logits": logits, "split": "test", "passport": {}}
        return row | {"buckets": [{"bucket": "9", "cross_entropy": 1.0}, {"bucket": "10", "cross_entropy": x}]}

    def written(variant, seed, x):
        row = {"variant": variant, "seed": seed, "kind": "continuations", "source": "greedy", "passport": {}}
        return [row | {"distinct_2": x}, row | {"source": "human", "distinct_2": 9.0}]

    analysis = [deciles("base", s, 9.0) for s in (0, 1)] + [deciles("new", s, 8.0) for s in (0, 1)]
    analysis += [deciles("new", s, 8.5 + 0.1 * s, "debiased") for s in (0, 1)]
    analysis += [row for s in (0, 1) for row in (*written("base", s, 0.5), *written("new", s, 0.6))]
    folder = results("two", {"base": [5.0]}, analysis=analysis)
    plain, debiased, distinct = decide(
        [folder],
        make_claim("decile_cross_entropy", unit="absolute", direction="lower"),
        make_claim("decile_cross_entropy", unit="absolute", direction="lower", protocol={"logits": "debiased"}),
        make_claim("distinct_2", unit="absolute", direction="higher", protocol={"source": "greedy"}),
    )
    assert plain.differences.values == pytest.approx((-1.0, -1.0))
    assert debiased.differences.values == pytest.approx((-0.5, -0.4))
    assert distinct.differences.values == pytest.approx((0.1, 0.1))


def test_debiased_figures_stand_beside_debiased_documents(results, extra_record):
    def sums(first, second):
        both = {name: [100, 100] for name in ("tokens", "words", "bytes")}
        return {"document": [0, 1], "nll": [100 * first, 100 * second], **both}

    def of(variant, seed, plain, unshifted=None):
        changes = {"by_document": sums(*plain)}
        if unshifted:
            changes |= {"debiased_nll": 1.0, "debiased_token_perplexity": math.exp(sum(unshifted) / 2)}
            changes |= {"debiased_by_document": sums(*unshifted)}
        return extra_record(variant, seed, sum(plain) / 2, **changes)

    more = [of("base", seed, (5.0, 6.0)) for seed in (0, 1)]
    more += [of("new", seed, (7.0, 8.0), (4.8, 5.5 + seed / 10)) for seed in (0, 1)]
    folder = results("two", more=more)
    plain, debiased = decide(
        [folder],
        make_claim("token_perplexity", direction="lower"),
        make_claim("debiased_token_perplexity", direction="lower"),
    )
    assert plain.documents == pytest.approx((2.0, 2.0))
    # a quarter of the draws holds the first document twice, a quarter the second
    assert debiased.documents == pytest.approx((-0.45, -0.2))


def test_parameters_are_compared_as_a_ratio(results, extra_record):
    more = [extra_record("new", seed, 4.0, passport={"head_parameters": 1}) for seed in (0, 1)]
    folder = results("two", {"base": [5.0, 5.0]}, more=more)
    (one,) = decide([folder], make_claim("head_parameters", direction="lower", size=0.99))
    assert (one.low, one.high) == pytest.approx((math.log(0.01), math.log(0.01)))
    assert one.verdict == "supported"
    assert words.tests(one) == "2 seeds, which all say the same"


def passkey(variant, seed, depth, x):
    row = {"variant": variant, "seed": seed, "probe": "passkey", "length": 256, "depth": depth, "accuracy": x}
    return row | {"passport": {"train_length": 64}}


def test_equal_differences_of_shares_are_no_certainty(results):
    probes = [passkey(v, s, 0.0, x + 0.05 * s) for v, x in (("base", 0.1), ("new", 0.15)) for s in (0, 1)]
    folder = results("two", {"base": [5.0]}, probes=probes)
    settings = {"unit": "absolute", "protocol": {"multiple": 4}}
    stated = (("higher", 0.22), ("lower", None), ("at_least", 0.01))
    for one in decide([folder], *(make_claim("passkey_accuracy", **settings, direction=d, size=s) for d, s in stated)):
        assert one.differences.values == pytest.approx((0.05, 0.05))  # apart in their last digits
        assert (one.verdict, one.remark[:30]) == ("not tested", "every seed differs by the same")
        assert math.isnan(one.p)
        assert math.isnan(one.low)


def test_what_neither_solves_is_not_tested(results):
    probes = [passkey(v, s, 0.0, 0.0) for v in ("base", "new") for s in (0, 1)]
    folder = results("two", {"base": [5.0]}, probes=probes)
    settings = {"unit": "absolute", "protocol": {"multiple": 4}}
    (one,) = decide([folder], make_claim("passkey_accuracy", **settings, direction="higher", size=0.22))
    assert (one.verdict, one.remark) == ("not tested", "neither solves it: every figure is 0 %")


def test_equal_figures_are_a_tie_and_exclude_no_size(results):
    probes = [passkey(v, s, 0.0, 0.1) for v in ("base", "new") for s in (0, 1)]
    folder = results("two", {"base": [5.0]}, probes=probes)
    settings = {"unit": "absolute", "protocol": {"multiple": 4}}
    (one,) = decide([folder], make_claim("passkey_accuracy", **settings, direction="higher", size=0.22))
    assert (one.verdict, one.remark) == ("tie", "no difference at all")


def test_passkeys_and_copies_at_their_length(results):
    def copy(variant, seed, distance, x):
        row = {"variant": variant, "seed": seed, "probe": "copy", "length": 256, "distance": distance, "accuracy": x}
        return row | {"passport": {"train_length": 64}}

    probes = [passkey(v, s, d, x + d) for v, x in (("base", 0.0), ("new", 0.2)) for s in (0, 1) for d in (0.0, 0.5)]
    probes += [copy(v, s, d, x) for v, x in (("base", 0.1), ("new", 0.4)) for s in (0, 1) for d in (10, 200)]
    folder = results("two", {"base": [5.0]}, probes=probes)
    at = {"unit": "absolute", "direction": "higher"}
    found = decide(
        [folder],
        make_claim("passkey_accuracy", **at, protocol={"multiple": 4}),
        make_claim("copy_accuracy", **at, protocol={"multiple": 4}),
        make_claim("copy_accuracy", **at, protocol={"multiple": 2}),
    )
    assert found[0].differences.values == pytest.approx((0.2, 0.2))
    assert found[0].baseline_mean == pytest.approx(0.25)
    assert found[1].differences.values == pytest.approx((0.3, 0.3))
    assert found[2].verdict == "not tested"
