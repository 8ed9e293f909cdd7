"""Tables and figure of evaluations at several lengths, from records made by hand."""

import math

import pytest
from lmzoo.train.evaluate.extrapolate.plots import extrapolation_plots
from lmzoo.train.evaluate.extrapolate.tables import Scored, extrapolation_tables


def record(protocol="sliding", length=128, loss=5.0, stride=None, passport=None, **changes):
    card = {"corpus": "c", "split": "test", "text_sha256": "ab", "tokenizer_sha256": "t", "train_length": 128}
    fixed = {"longest": 512, "within": "text", "targets": 100} if protocol == "fixed_target" else {}
    return {
        "protocol": protocol,
        "length": length,
        "stride": stride if protocol != "non_overlapping" else None,
        **dict.fromkeys(("longest", "within", "targets", "intervention")),
        **fixed,
        "tokens": 1000,
        "eligible": 1000,
        "words": 600,
        "bytes": 4000,
        "cross_entropy": loss,
        "token_perplexity": math.exp(loss),
        "word_perplexity": math.exp(loss / 0.6),
        "bits_per_byte": loss / 4 / math.log(2),
        "passport": {**card, "detokenize": False, "dtype": "float32", "documents": 9, **(passport or {})},
    } | changes


def all_of(variant, seed, losses, **options):
    found = []
    for length, loss in losses.items():
        for protocol, stride in (("non_overlapping", None), ("sliding", length // 2), ("fixed_target", 64)):
            found.append(Scored(variant, seed, record(protocol, length, loss, stride, **options)))
    return found


@pytest.fixture
def scored():
    return [
        *all_of("rotary", 0, {128: 5.0, 512: 6.0}),
        *all_of("rotary", 1, {128: 5.2, 512: 6.4}),
        *all_of("alibi", 0, {128: 5.1, 512: 5.0}),
        *all_of("alibi", 1, {128: 5.1, 512: 5.0}),
    ]


def test_a_table_a_protocol_a_column_a_length(scored):
    tables = extrapolation_tables(scored, ["rotary", "alibi"], "rotary")
    assert [t.title for t in tables] == [
        "Windows side by side: token perplexity by window length",
        "Sliding windows: token perplexity by window length",
        "The same tokens at every length: token perplexity by window length",
    ]
    for table in tables:
        assert table.columns == ["128", "512"]
        assert [(row.variant, row.baseline) for row in table.rows] == [("rotary", True), ("alibi", False)]
        mean = (math.exp(5.0) + math.exp(5.2)) / 2
        assert table.rows[0].cells[0].text == f"{mean:.1f}"
        assert mean > math.exp(5.1)
        assert [[cell.best for cell in row.cells] for row in table.rows] == [[False, False], [True, True]]
        assert table.rows[1].cells[1].text == f"{math.exp(5.0):.1f}"
        assert "1,000 tokens, 600 words, 4,000 bytes of c; trained at 128 tokens" in table.sentence
    assert "strides 64 to 256 by length" in tables[1].sentence
    assert "stride 64." in tables[2].sentence


def test_bold_is_over_the_seeds_that_all_rows_have(scored):
    more = all_of("rotary", 2, {128: 1.0, 512: 1.0})  # brings its mean below the other's, which has no such seed
    table = extrapolation_tables([*scored, *more], ["rotary", "alibi"], "rotary")[0]
    assert float(table.rows[0].cells[0].text) < float(table.rows[1].cells[0].text)
    assert [[cell.best for cell in row.cells] for row in table.rows] == [[False, False], [True, True]]
    assert table.notes[0] == "Mean ± standard deviation (n − 1) over seeds."
    one = extrapolation_tables([*scored, *all_of("none", 0, {128: 9.0})], ["rotary", "alibi", "none"], "rotary")[0]
    assert one.notes[0].endswith(" A figure without ± is of one seed.")


def test_unlike_passports_never_share_a_table(scored):
    other = all_of("alibi", 2, {128: 1.0}, passport={"text_sha256": "cd"})
    tables = extrapolation_tables([*scored, *other], ["rotary", "alibi"], "rotary")
    assert len(tables) == 6
    assert "because these differ: the text (ab here)" in tables[0].sentence
    assert "because these differ: the text (cd here)" in tables[1].sentence
    assert [row.variant for row in tables[1].rows] == ["alibi"]
    assert len(extrapolation_plots([*scored, *other], ["rotary", "alibi"], "rotary")) == 2
    fewer = [Scored("alibi", 3, record("fixed_target", 128, 1.0, 64, targets=50, words=300))]
    fixed = extrapolation_tables([*scored, *fewer], ["rotary", "alibi"], "rotary")[2:]
    assert [len(t.rows) for t in fixed] == [2, 1]


def test_panels_of_one_protocol_say_which_tokens_they_score(scored):
    longer = [Scored(one.variant, one.seed, {**one.record, "longest": 8192, "words": 500}) for one in scored]
    both = [*scored, *(one for one in longer if one.record["protocol"] == "fixed_target")]
    titles = [table.title.split(":")[0] for table in extrapolation_tables(both, ["rotary", "alibi"], "rotary")]
    assert titles[2:] == [
        "The same tokens at every length, 512 tokens before them",
        "The same tokens at every length, 8,192 tokens before them",
    ]
    own = [Scored("rotary", 0, record("fixed_target", 128, 5.0, 64, within="document", targets=None))]
    *_, text, document = extrapolation_tables([*scored, *own], ["rotary", "alibi"], "rotary")
    assert text.title.startswith("The same tokens at every length, within the text, 100 of them at most: ")
    assert document.title.startswith("The same tokens at every length, within the document: ")
    (plot,) = extrapolation_plots(both, ["rotary", "alibi"], "rotary")
    assert "The same tokens at every length, 8,192 tokens before them" in plot.alt


def test_unlike_tokenizers_compare_by_bytes():
    both = [
        *all_of("a", 0, {128: 5.0}),
        *all_of("b", 0, {128: 4.0}, passport={"tokenizer_sha256": "u"}),
    ]
    tables = extrapolation_tables(both, ["a", "b"], "a")
    assert tables[0].title.endswith("bits per byte by window length")
    assert "tokens" not in tables[0].sentence.split("Scored")[1].split(";")[0]


def test_unlike_strides_of_a_length_stand_in_columns_of_their_own():
    both = [Scored("a", 0, record(stride=64)), Scored("a", 0, record(stride=32, loss=4.0))]
    (table,) = extrapolation_tables(both, ["a"], "a")
    assert table.columns == ["128 (stride 32)", "128 (stride 64)"]
    assert [cell.text for cell in table.rows[0].cells] == [f"{math.exp(x):.{d}f}" for x, d in ((4.0, 2), (5.0, 1))]


def test_the_newest_of_like_records_counts_and_interventions_are_rows():
    found = [
        Scored("a", 0, record(stride=64, loss=9.0)),
        Scored("a", 0, record(stride=64, loss=5.0)),
        Scored("a", 0, record(stride=64, loss=3.0, intervention="window 64")),
    ]
    (table,) = extrapolation_tables(found, ["a"], "a")
    assert [(row.variant, row.cells[0].text) for row in table.rows] == [
        ("a", f"{math.exp(5.0):.2f}"),
        ("a, window 64", f"{math.exp(3.0):.2f}"),
    ]


def test_a_figure_holds_several_training_lengths(scored):
    longer = all_of("long", 0, {128: 5.0}, passport={"train_length": 512})
    (plot,) = extrapolation_plots([*scored, *longer], ["rotary", "alibi", "long"], "rotary")
    assert "training lengths: 128 of rotary and alibi, 512 of long." in plot.caption
    assert len(extrapolation_tables([*scored, *longer], ["rotary", "alibi", "long"], "rotary")) == 6


def test_the_figure_says_what_left_its_frame(scored):
    broken = all_of("none", 0, {128: 5.0, 512: 30.0})
    (plot,) = extrapolation_plots([*scored, *broken], ["rotary", "alibi", "none"], "rotary")
    assert plot.file == "extrapolation.png"
    assert "Above the frame in part: none." in plot.caption
    assert "The dotted line is the training length, 128." in plot.caption
    assert "Dots are seeds" in plot.caption
    assert "alibi 5.100 at 128, 5.000 at 512" in plot.alt
    assert plot.light[:8] == plot.dark[:8] == b"\x89PNG\r\n\x1a\n"
    assert "Above" not in extrapolation_plots(scored, ["rotary", "alibi"], "rotary")[0].caption
    assert extrapolation_plots([], [], "a") == []
    assert extrapolation_tables([], [], "a") == []
