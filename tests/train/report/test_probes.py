"""What a report says of the probes of its runs, from probe records written by hand."""

import json

import pytest
from lmzoo.train.evaluate.probe.plots import context_plots
from lmzoo.train.evaluate.probe.tables import probe_tables
from lmzoo.train.figures.statistics.spread import share_interval
from lmzoo.train.report.write import write_report
from lmzoo.train.runs.load import load_comparison

CARD = {"tokenizer_sha256": "t" * 64, "train_length": 128, "dtype": "float32", "versions": {"torch": "2"}}
TEXT = {"corpus": "c", "split": "test", "text_sha256": "x" * 64, "detokenize": False}


def copies(length, share, gain, samples=8):
    for distance in (16, length - 17):
        near = distance == 16
        yield {
            "probe": "copy",
            "length": length,
            "distance": distance,
            "segment_tokens": 16,
            "cue_tokens": 4,
            "samples": samples,
            "accuracy": 1.0 if near else share,
            "accuracy_low": 0.0,
            "accuracy_high": 1.0,
            "chance_accuracy": 0.002,
            "loss": 6.0 - gain,
            "first_loss": 6.0,
        }


def passkeys(length, shares, samples=8):
    for depth, share in zip((0.0, 1.0), shares):
        fixed = {"digits": 5, "key_tokens": 3, "distractors": 4, "chance_accuracy": 1e-5, "chance_ranked_first": 0.2}
        place = {"probe": "passkey", "length": length, "depth": depth, "samples": samples, **fixed}
        yield place | {"ranked_first": share, "accuracy": share / 2}


def starts(length, losses, documents=5):
    if not documents:
        nothing = dict.fromkeys(("first_index", "last_index", "loss", "loss_low", "loss_high"))
        yield {"probe": "start", "length": length, "samples": 8, "documents": 0, "tokens": 0, **nothing}
        return
    for (first, last), loss in zip(((1, 1), (2, 2), (3, 4)), losses):
        place = {"first_index": first, "last_index": last, "documents": documents, "tokens": documents}
        bounds = {"loss": loss, "loss_low": loss - 0.5, "loss_high": loss + 0.25}
        yield {"probe": "start", "length": length, "samples": 8, **place, **bounds}


def write(folder, records, **card):
    (folder / "probe").mkdir()
    lines = [{**r, "seed": 0, "intervention": None, "passport": {**CARD, **TEXT, **card}} for r in records]
    (folder / "probe" / "probes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


FIGURES = {"rotary": [(0.25, 0.5), (0.75, 1.0)], "alibi": [(0.5, 2.0), (0.5, 2.0)]}


@pytest.fixture
def probed(make_comparison, make_run):
    """``probed(seeds, **card)``: the folder of a comparison whose runs were probed; ``card`` is alibi's alone."""

    def make(seeds, **card):
        output = make_comparison(["rotary", "alibi"], seeds)
        for variant, by_seed in FIGURES.items():
            for seed in seeds:
                share, gain = by_seed[seed]
                records = [*copies(128, share, gain), *copies(512, share / 2, gain / 2)]
                records += [*passkeys(128, (share, 1.0)), *passkeys(512, (0.0, share))]
                records += [*starts(4, (5.0, 4.0, 3.0 + share)), *starts(512, (), documents=0)]
                write(make_run(output, variant, seed), records, **(card if variant == "alibi" else {}))
        return output

    return make


def cells(table, variant):
    row = next(row for row in table.rows if row.variant == variant)
    return dict(zip(table.columns, map(str, row.cells), strict=True))


def test_one_seed_shows_intervals(probed):
    copied, worth, likeliest, answered, start = probe_tables(load_comparison(probed([0])))
    assert cells(copied, "rotary") == {
        "128 (111 back)": "25.0 [0.0, 100.0]",
        "512 (495 back)": "12.5 [0.0, 100.0]",
    }
    assert [row.cells[0].best for row in copied.rows] == [False, True]
    assert cells(worth, "alibi") == {"128 (111 back)": "2.000 n=1", "512 (495 back)": "1.000 n=1"}
    low, high = (f"{100 * bound:.1f}" for bound in share_interval(0.625, 16))
    assert cells(likeliest, "rotary") == {
        "128": f"62.5 [{low}, {high}]",
        "512": "12.5 [{:.1f}, {:.1f}]".format(*(100 * bound for bound in share_interval(0.125, 16))),
    }
    assert cells(answered, "rotary")["128"].startswith("31.2 [")
    assert "8 texts at each of 2 depths" in likeliest.sentence
    assert cells(start, "rotary") == {
        "1": "5.000 [4.500, 5.250]",
        "2": "4.000 [3.500, 4.250]",
        "3 to 4": "3.250 [2.750, 3.500]",
    }
    assert [row.cells[2].best for row in start.rows] == [True, False]
    assert "5 documents of c" in start.sentence


def test_bold_is_over_the_seeds_that_all_rows_have(probed):
    output = probed([0, 1])
    (output / "alibi" / "seed-1" / "probe" / "probes.jsonl").unlink()
    copied, *_ = probe_tables(load_comparison(output))
    assert [cells(copied, name)["128 (111 back)"].split()[0] for name in ("rotary", "alibi")] == ["50.0", "50.0"]
    assert [row.cells[0].best for row in copied.rows] == [False, True], "of seed 0: 25 and 50"


def test_several_seeds_show_their_deviation(probed):
    copied, worth, likeliest, *_ = probe_tables(load_comparison(probed([0, 1])))
    assert cells(copied, "rotary")["128 (111 back)"] == "50.0 ± 35.4"
    assert cells(worth, "rotary")["512 (495 back)"] == "0.375 ± 0.177"
    assert cells(likeliest, "alibi")["512"] == "25.0 ± 0.0"


def test_unlike_probes_never_share_a_table(probed):
    comparison = load_comparison(probed([0], tokenizer_sha256="u" * 64))
    tables = probe_tables(comparison)
    assert [[row.variant for row in table.rows] for table in tables] == [["rotary"]] * 2 + [["alibi"]] * 2 + [
        ["rotary"],
        ["rotary"],
        ["alibi"],
        ["alibi"],
        ["rotary"],
        ["alibi"],
    ]
    assert tables[0].title.endswith("(1 of 2)")
    assert "Apart because these differ: " in tables[0].sentence
    assert len({table.title for table in tables}) == len(tables)
    assert len({plot.file for plot in context_plots(comparison)}) == 8


def test_pictures(probed):
    copied, worth, passkey, start = context_plots(load_comparison(probed([0, 1])))
    files = ["copy-accuracy.png", "copy-gain.png", "passkey-ranked-first.png", "start-loss.png"]
    assert [plot.file for plot in (copied, worth, passkey, start)] == files
    assert "Sequences of 512 tokens: rotary 16: 100.000, 495: 25.000; alibi 16: 100.000, 495: 25.000" in copied.alt
    assert "rotary 16: 0.375, 495: 0.375" in worth.alt
    assert "rotary 128: 75, 512: 25; alibi 128: 75, 512: 25" in passkey.alt
    assert "up to the training length, 128" in passkey.caption
    assert "The dotted line is the training length, 128." in copied.caption
    assert "training length" not in start.caption
    assert "rotary 1: 5.000, 2: 4.000, 4: 3.500" in start.alt
    for plot in (copied, worth, passkey, start):
        assert plot.light[:4] == b"\x89PNG"
        assert plot.light != plot.dark


def test_the_report_holds_the_records(probed):
    output = probed([0])
    _, page = write_report(output)
    assert "Copying from the far end: share copied" in page.read_text()
    lines = [json.loads(line) for line in (output / "report" / "probes.jsonl").read_text().splitlines()]
    assert len(lines) == 2 * 12
    assert {(line["variant"], line["seed"], line["drawn_with"]) for line in lines} == {
        ("rotary", 0, 0),
        ("alibi", 0, 0),
    }
    assert (output / "report" / "passkey-ranked-first.png").is_file()


def test_a_report_without_probes_says_nothing_of_them(three_by_two):
    assert probe_tables(load_comparison(three_by_two)) == []
    assert context_plots(load_comparison(three_by_two)) == []
