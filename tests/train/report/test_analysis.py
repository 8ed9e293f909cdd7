"""Tables and pictures of analyses, from records made by hand."""

import json
import struct

import pytest
from lmzoo.errors import ConfigError
from lmzoo.train.evaluate.analyze.tables import analysed, analysis_plots, analysis_tables
from lmzoo.train.report.write import write_report
from lmzoo.train.runs.load import load_comparison
from lmzoo.train.storage import read_lines

TOKENS = [40, 30, 0, 20, 10, 10, 10, 10, 10, 10, 2]


def deciles(loss, seed, logits="plain", **passport):
    buckets = [
        {
            "bucket": "unseen" if i == 10 else str(i + 1),
            "types": i + 1,
            "training_tokens": 0 if i == 10 else 100,
            "tokens": n,
            "nll": n * (loss + i),
            "cross_entropy": loss + i if n else None,
        }
        for i, n in enumerate(TOKENS)
    ]
    nll = sum(b["nll"] for b in buckets)
    return {
        "kind": "deciles",
        "logits": logits,
        "split": "test",
        "protocol": "non_overlapping",
        "length": 128,
        "tokens": sum(TOKENS),
        "nll": nll,
        "cross_entropy": nll / sum(TOKENS),
        "word_perplexity": 100.0 + loss,
        "buckets": buckets,
        "rule": "How deciles are made.",
        "passport": card(seed, **passport),
    }


def card(seed, **changes):
    base = {"corpus": "python-docs", "text_sha256": "ab", "train_text_sha256": "cd", "tokenizer_sha256": "ef"}
    return (
        base | {"detokenize": False, "train_length": 128, "dtype": "32-true", "device": "cpu", "seed": seed} | changes
    )


def continuations(source, value, seed, **changes):
    names = ("distinct_1", "distinct_2", "distinct_3", "seq_rep_4")
    figures = {f"{of}{name}": value for of in ("", "word_") for name in names}
    how = {"split": "test", "prompts": 8, "prompt_tokens": 4, "new_tokens": 16, "generation_seed": 0, "batch_size": 32}
    how |= {"frequent_types": 100, "rule": "How pieces are cut."}
    return {
        "kind": "continuations",
        "source": source,
        **figures,
        "rare_share": value,
        **how,
        "passport": card(seed),
    } | changes


def put(output, variant, seed, *records):
    lines = [{"kind": "settings"}, *records]
    (output / variant / f"seed-{seed}" / "analysis.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))


@pytest.fixture
def analysed_pair(make_comparison, make_run):
    """Two variants, two seeds: rotary 2.0 and 2.2 nats in the first decile, alibi 1.9 and 2.0, debiased 1.5."""
    output = make_comparison(["rotary", "alibi"], [0, 1])
    for variant, losses in {"rotary": (2.0, 2.2), "alibi": (1.9, 2.0)}.items():
        for seed, loss in enumerate(losses):
            make_run(output, variant, seed)
            own = [deciles(loss, seed)]
            own += [deciles(1.5, seed, logits="debiased")] if variant == "alibi" else []
            own += [continuations("human", 0.5, seed)]
            own += [continuations("greedy", loss / 10, seed), continuations("sampled", loss / 5, seed)]
            put(output, variant, seed, *own)
    return output


def by_title(tables):
    return {table.title: table for table in tables}


def row(table, name):
    (found,) = (r for r in table.rows if r.variant == name)
    return dict(zip(table.columns, map(str, found.cells), strict=False))


def test_tables_hold_means_over_seeds_and_the_tokens_behind_them(analysed_pair):
    tables = by_title(analysis_tables(load_comparison(analysed_pair)))
    assert list(tables) == ["Plain loss", "Loss by training frequency", "Greedy continuations", "Sampled continuations"]
    loss = tables["Plain loss"]
    assert row(loss, "rotary")["Word perplexity"] == "102.1 ± 0.1"
    assert row(loss, "rotary")["Word perplexity, debiased"] == "–"
    assert row(loss, "alibi")["Word perplexity, debiased"] == "101.5 ± 0.0"
    assert any("whatever was optimised" in note for note in loss.notes)

    by = tables["Loss by training frequency"]
    assert by.columns == [f"decile {i}" for i in (1, 2, 4, 5, 6, 7, 8, 9, 10)] + ["unseen"]
    assert row(by, "rotary")["decile 1"] == "2.100 ± 0.141"
    assert row(by, "alibi")["decile 10"] == "10.950 ± 0.071"
    assert row(by, "alibi, debiased")["decile 1"] == "1.500 ± 0.000"
    assert row(by, "tokens scored")["decile 1"] == "40"
    assert row(by, "token ids")["unseen"] == "11"
    assert by.notes[-1] == "No scored token is in: decile 3."
    assert "How deciles are made." in by.notes[0]


def test_the_human_row_stands_beside_both_kinds_of_continuations(analysed_pair):
    tables = by_title(analysis_tables(load_comparison(analysed_pair)))
    for title, expected in (("Greedy continuations", "0.210 ± 0.014"), ("Sampled continuations", "0.420 ± 0.028")):
        table = tables[title]
        assert [r.variant for r in table.rows] == ["human text", "rotary", "alibi"]
        assert str(table.rows[0].cells[0]) == "0.500"
        assert str(table.rows[1].cells[3]) == expected
        assert "8 prompts of 4 tokens, continued by 16 tokens" in table.sentence


def test_unlike_analyses_never_share_a_table_or_a_picture(make_comparison, make_run):
    output = make_comparison(["a", "b"], [0])
    for variant, tokenizer, tokens in (("a", "ef", 16), ("b", "77", 8)):
        make_run(output, variant, 0)
        own = [continuations(s, 0.3, 0, new_tokens=tokens) for s in ("human", "greedy", "sampled")]
        put(output, variant, 0, deciles(2.0, 0, tokenizer_sha256=tokenizer), *own)
    comparison = load_comparison(output)
    sets = analysed(comparison.finished, "deciles")
    assert [list(one.records["variant"]) for one in sets] == [["a"], ["b"]]
    assert sets[0].why == ("tokenizer_sha256",)
    tables = by_title(analysis_tables(comparison))
    assert "Loss by training frequency (1 of 2)" in tables
    assert "because they differ; here: new_tokens 8." in tables["Greedy continuations (2 of 2)"].sentence
    assert [plot.file for plot in analysis_plots(comparison)] == ["loss-by-decile-1.png", "loss-by-decile-2.png"]


def test_pictures_have_their_figures_in_the_alt_text(analysed_pair):
    loss, difference = analysis_plots(load_comparison(analysed_pair))
    assert (loss.file, difference.file) == ("loss-by-decile.png", "loss-by-decile-difference.png")
    assert loss.alt == "Cross-entropy against decile. rotary: 2.100 to 11.100; alibi: 1.950 to 10.950."
    assert "Not drawn: 2 scored tokens" in loss.caption
    # paired: (1.9 - 2.0 + 2.0 - 2.2) / 2
    assert difference.alt == "Difference of cross-entropy to rotary against decile. alibi: −0.150 to −0.150."
    for plot in (loss, difference):
        assert plot.light != plot.dark
        assert struct.unpack(">I", plot.light[16:20])[0] == 1120


def test_codes_are_drawn_once_where_all_seeds_have_the_same(make_comparison, make_run):
    output = make_comparison(["frequency", "random", "linear"], [0, 1])
    for seed in (0, 1):
        for variant, sizes in (("frequency", [1, 1, 6]), ("random", [2 - seed, 1, 3 + seed])):
            make_run(output, variant, seed)
            put(output, variant, seed, {"kind": "codes", "sizes": sizes, "passport": card(seed)})
        make_run(output, "linear", seed)
    (plot,) = analysis_plots(load_comparison(output))
    assert plot.file == "code-sizes.png"
    assert "frequency: 3 codes, the largest of 6 ids, 2 of one id, 0 of none" in plot.caption
    assert "random, seed 0: 3 codes, the largest of 3 ids" in plot.caption
    assert "random, seed 1: 3 codes, the largest of 4 ids" in plot.caption
    assert plot.caption.count("frequency") == 1


def test_the_report_shows_and_keeps_them(analysed_pair):
    document, page = write_report(analysed_pair)
    html, markdown = page.read_text(), page.with_name("report.md").read_text()
    for table in document.tables("Loss by frequency, and continuations"):
        assert f"<h3>{table.title}</h3>" in html
        assert f"### {table.title}" in markdown
        for own in table.rows:
            for cell in own.cells:
                assert cell.text in html
                assert cell.text in markdown
    assert (page.parent / "loss-by-decile.png").is_file()
    rows = [json.loads(line) for line in (page.parent / "analysis.jsonl").read_text().splitlines()]
    assert {(r["variant"], r["seed"]) for r in rows} == {(v, s) for v in ("rotary", "alibi") for s in (0, 1)}
    for file in analysed_pair.glob("*/*/analysis.jsonl"):
        file.unlink()
    document, _ = write_report(analysed_pair)
    assert document.tables("Loss by frequency, and continuations") == []
    assert not (page.parent / "analysis.jsonl").exists()
    assert not (page.parent / "loss-by-decile.png").exists()


def test_a_run_without_the_analysis_asked_for_is_named(make_comparison, make_run):
    output = make_comparison(["a"], [0])
    make_run(output, "a", 0)
    assert write_report(output)[0].troubles == []
    with (output / "comparison.yaml").open("a") as stream:
        stream.write("analyze: {prompts: 8}\n")
    assert write_report(output)[0].troubles == [("a, seed 0", "not analysed; run the comparison again to go on")]


@pytest.mark.parametrize(("text", "message"), [("{", "not valid JSON"), ("[1]", "expected one JSON object a line")])
def test_a_damaged_analysis_is_named_with_its_line(tmp_path, text, message):
    file = tmp_path / "analysis.jsonl"
    file.write_text('{"kind": "settings"}\n' + text + "\n")
    with pytest.raises(ConfigError, match=rf"analysis\.jsonl:2: {message}"):
        read_lines(file)
