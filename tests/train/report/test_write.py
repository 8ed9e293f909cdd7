import base64
import io
import itertools
import json
import re
import shlex
from html.parser import HTMLParser

import pytest
from lmzoo.train.report.document import build_document
from lmzoo.train.report.glance import GLANCE
from lmzoo.train.report.repeat import Repeats
from lmzoo.train.report.write import terminal_tables, write_report
from lmzoo.train.runs.load import load_comparison
from rich.console import Console


def test_the_report_is_written_from_the_folders_alone(three_by_two):
    _, page = write_report(three_by_two)
    assert sorted(p.name for p in page.parent.iterdir()) == [
        "loss-training.png",
        "loss-validation.png",
        "points-test.png",
        "points-validation.png",
        "quality-memory.png",
        "quality-speed.png",
        "records.jsonl",
        "report.html",
        "report.md",
    ]


class _Addresses(HTMLParser):
    """Everything that a browser would fetch, what links lead to, and the ids that they may lead to."""

    def __init__(self, html):
        super().__init__()
        self.fetched, self.links, self.ids = [], [], set()
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.ids |= {attributes["id"]} if "id" in attributes else set()
        self.links += [attributes["href"]] if tag == "a" else []
        names = ("src", "srcset", "data", "action", "poster", *(() if tag == "a" else ("href", "xlink:href")))
        self.fetched += [attributes[name] for name in names if name in attributes]


def test_the_page_needs_nothing_else(claimed):
    _, page = claimed
    html = page.read_text()
    found = _Addresses(html)
    assert {address.split(",")[0].split("-")[0] for address in found.fetched} == {
        "data:image/png;base64",
        "data:",
        "#icon",
    }
    assert "url(" not in html
    assert "@import" not in html
    assert "<script" not in html
    outside = [link for link in found.links if not link.startswith("#")]
    assert outside == [f"https://arxiv.org/abs/{one.paper.arxiv}" for one in claimed[0].claims]
    assert html.count("://") == len(outside)
    assert {link[1:] for link in found.links if link.startswith("#")} <= found.ids
    assert {address[1:] for address in found.fetched if address.startswith("#")} <= found.ids


def test_every_picture_is_there_in_two_colours_and_two_widths_and_told_in_words(claimed):
    document, page = claimed
    html = page.read_text()
    assert html.count("<figure>") == html.count("<figcaption>") == html.count("<img ") == len(document.plots) > 4
    assert html.count("<source ") == 3 * len(document.plots)
    assert all(plot.alt and plot.title and plot.caption for plot in document.plots)
    for plot in document.plots:
        pictures = (plot.light, plot.dark, plot.narrow_light, plot.narrow_dark)
        assert len(set(pictures)) == 4
        assert all(base64.b64encode(png).decode() in html for png in pictures)


def test_the_verdicts_come_first_and_everything_can_be_jumped_to(claimed):
    document, page = claimed
    titles = [
        "Verdicts",
        "At a glance",
        "What varies",
        "Loss curves",
        "Quality",
        "Quality against cost",
        "Cost",
        "Passports",
        "How to repeat each row",
    ]
    assert [title for title, _ in document.contents] == titles
    html, markdown = page.read_text(), page.with_name("report.md").read_text()
    assert re.findall(r"<h2>(.*?)</h2>", html) == [titles[0], "Not in order", *titles[1:]]
    assert re.findall(r"^## (.*)$", markdown, re.MULTILINE) == [titles[0], "Not in order", *titles[1:]]
    assert all(f"](#{anchor})" in markdown for _, anchor in document.contents)


def test_both_forms_say_the_same(three_by_two):
    document, page = write_report(three_by_two)
    html, markdown = page.read_text(), page.with_name("report.md").read_text()
    for table in [*document.tables(GLANCE), *document.tables("Quality"), *document.tables("Cost")]:
        for row in table.rows:
            for cell in row.cells:
                assert cell.text in html
                assert cell.text in markdown
    assert document.headline in markdown
    assert "alibi has the lowest test token perplexity: 153.0 ± 6.5" in document.headline
    assert "(token perplexity −7.7 % [−28.4, +19.0]; Holm-adjusted p 0.222: tie). 2 seeds." in document.headline
    for variant in ("rotary", "alibi", "none"):
        assert f"--variants {variant} --seeds 0,1 --output" in html
        assert f"--variants {variant} --seeds 0,1 --output" in markdown


def test_markdown_tables_are_whole(three_by_two):
    _, page = write_report(three_by_two)
    lines = page.with_name("report.md").read_text().splitlines()
    for before, line, after in zip(lines, lines[1:], lines[2:], strict=False):
        if line.startswith("| ---"):
            assert before.count("|") == line.count("|") == after.count("|")


def test_records_are_strict_json_with_passport_and_cost(three_by_two):
    _, page = write_report(three_by_two)
    rows = [json.loads(line, parse_constant=None) for line in page.with_name("records.jsonl").read_text().splitlines()]
    assert len(rows) == 12
    assert rows[0]["variant"] == "rotary"
    assert rows[0]["passport"]["tokenizer_sha256"] == "ef" * 32
    assert rows[0]["run"]["tokens_per_second"] == 6400.0
    assert {row["split"] for row in rows} == {"validation", "test"}


def test_an_infinite_figure_stays_visible_in_the_records(make_comparison, make_run):
    output = make_comparison(["a"], [0])
    make_run(output, "a", 0, changes={"word_perplexity": float("inf")})
    _, page = write_report(output)
    text = page.with_name("records.jsonl").read_text()
    assert "Infinity" not in text
    assert json.loads(text.splitlines()[0])["word_perplexity"] == "inf"
    assert "∞" in page.read_text()


def test_writing_again_gives_the_same_bytes_and_removes_old_pictures(three_by_two):
    _, page = write_report(three_by_two)
    first = {p.name: p.read_bytes() for p in page.parent.iterdir()}
    (page.parent / "points-old.png").write_bytes(b"old")
    write_report(three_by_two)
    assert {p.name: p.read_bytes() for p in page.parent.iterdir()} == first


def test_failed_unfinished_missing_and_stray_runs_are_named(make_comparison, make_run):
    output = make_comparison(["a", "b"], [0, 1])
    make_run(output, "a", 0)
    make_run(output, "a", 1, state="failed")
    folder = make_run(output, "b", 0, state="unfinished")
    with (folder / "metrics.jsonl").open("a") as stream:
        stream.write('{"split": "tr')
    make_run(output, "stray", 0)
    document, page = write_report(output)
    assert dict(document.troubles[:1]) == {
        "a, seed 1": "failed: step 17: the loss is nan (first seen in blocks.1.attention)"
    }
    text = page.read_text()
    for said in (
        "not finished (last row at step 300)",
        "1 line of metrics.jsonl cut off",
        "stray/seed-0",
    ):
        assert said in text


def test_missing_runs_are_one_line_until_it_is_opened(make_comparison, make_run):
    output = make_comparison(["a", "b", "c"], [0, 1])
    make_run(output, "a", 0)
    document, page = write_report(output)
    assert (document.troubles, document.missing) == ([], {"a": [1], "b": [0, 1], "c": [0, 1]})
    folded = page.read_text().split("<details><summary>5 runs not made yet</summary>")[1].split("</details>")[0]
    assert re.findall("<li><b>(.)</b> seed (.*)</li>", folded) == [("a", "1"), ("b", "0, 1"), ("c", "0, 1")]
    assert "\n- 5 runs not made yet: a seed 1; b seed 0, 1; c seed 0, 1\n" in page.with_name("report.md").read_text()


def test_with_no_finished_run_the_report_says_so(make_comparison, make_run):
    output = make_comparison(["a"], [0])
    make_run(output, "a", 0, state="unfinished")
    document, page = write_report(output)
    assert document.headline == "No run is finished yet."
    assert document.tables(GLANCE) == []
    assert terminal_tables(document, 80) == []
    assert "No run is finished yet." in page.read_text()


def test_names_are_escaped(make_comparison, make_run):
    output = make_comparison({"a": {"model": {"note": "<script>x|y</script>"}}}, [0], name="<b>name</b>")
    make_run(output, "a", 0)
    _, page = write_report(output)
    assert "<script>" not in page.read_text()
    assert "<b>name</b>" not in page.read_text()
    assert "&lt;script>x\\|y&lt;/script>" in page.with_name("report.md").read_text()


def test_a_note_on_software_is_shown_everywhere_above_the_figures(make_comparison, make_run):
    output = make_comparison(["a", "b"], [0])
    make_run(output, "a", 0)
    make_run(output, "b", 0, passport={"versions": {"python": "3.11.2", "torch": "2.14.0"}})
    document, page = write_report(output)
    said = "the same software: torch (2.13.0: a; 2.14.0: b)."
    for text in (page.read_text(), page.with_name("report.md").read_text()):
        glance, quality = text.split("At a glance", 1)[1].split("Token perplexity, test", 1)
        assert said in glance
        assert quality.count(said) == 2
        assert "the context length in training and the precision (dtype)" in text
    assert said in terminal_tables(document, 80)[-1].caption


@pytest.mark.parametrize("width", range(30, 130))
def test_a_difference_is_never_parted_from_its_figure_unsaid(three_by_two, width):
    document = build_document(load_comparison(three_by_two))  # whose pictures are not drawn before they are wanted
    for table in terminal_tables(document, width):
        titles = [str(column.header) for column in table.columns]
        for before, title in itertools.pairwise(titles):
            if title == "Δ":
                assert "perplexity" in before
        assert titles[1] != "Δ"
        if width >= 60:
            assert not any(title.startswith("Δ of") for title in titles)


@pytest.mark.parametrize("width", [60, *range(76, 90), 200])
def test_the_terminal_shows_the_same_table_and_cuts_no_figure_off(three_by_two, width):
    document = build_document(load_comparison(three_by_two))  # whose pictures are not drawn before they are wanted
    console = Console(width=width, file=io.StringIO(), color_system=None)
    for table in terminal_tables(document, width):
        console.print(table)
    text = console.file.getvalue()
    for row in document.tables(GLANCE)[0].rows:
        assert row.variant in text
        for cell in row.cells:
            assert str(cell) in text
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    assert text.count("┓") == len(terminal_tables(document, width))


def test_the_claims_that_a_comparison_decides_are_in_its_report(make_comparison, make_run):
    output = make_comparison(["full", "vq-1-kmeans"], [0, 1], name="heads-fine-tune")
    for seed in (0, 1):
        make_run(output, "full", seed, loss=5.0, passport={"head_parameters": 500_000})
        make_run(output, "vq-1-kmeans", seed, loss=5.3 + 0.001 * seed, passport={"head_parameters": 5_000})
    document, page = write_report(output)
    assert [one.verdict for one in document.claims] == ["supported", "not supported"]
    assert page.with_name("claims.png").is_file()
    for text in (page.read_text(), page.with_name("report.md").read_text()):
        assert text.index("Verdicts") < text.index("At a glance")
        assert "What these runs say of what the papers claim: 1 supported, 1 not supported." in text
        assert "The output layer has up to 99 % fewer parameters." in text
        assert "heads-fine-tune: vq-1-kmeans against full" in text
        assert "beyond the bound" in text


def test_other_comparisons_have_no_claims(three_by_two):
    document, page = write_report(three_by_two)
    assert document.claims == []
    assert "Verdicts" not in page.read_text()


def test_a_verdict_has_a_shape_and_the_command_that_repeats_it(claimed):
    document, page = claimed
    verdicts = [one.verdict for one in document.claims]
    assert verdicts == ["supported"] * 2 + ["not tested"] * (len(verdicts) - 2)
    html, markdown = page.read_text(), page.with_name("report.md").read_text()
    assert f"2 supported, {len(verdicts) - 2} not tested." in html
    cards = re.findall(r'<article class="claim (\w+)">(.*?)</article>', html, re.DOTALL)
    assert [kind for kind, _ in cards] == ["good"] * 2 + ["open"] * (len(verdicts) - 2)
    assert all(f'href="#icon-{kind}"' in card for kind, card in cards)
    command = "--variants rotary,complex --seeds 0,1,2 --output"
    assert [command in card for _, card in cards] == [True] * 2 + [False] * (len(verdicts) - 2)
    assert markdown.count(command) == 2
    assert "−9.34 % [−9.78, −8.88]" in cards[0][1]


def test_a_row_is_repeated_by_what_stands_beside_it(three_by_two):
    repeats = Repeats(load_comparison(three_by_two))
    assert shlex.split(repeats.rows[1].command) == [
        *("lmzoo", "compare", str(three_by_two / "comparison.yaml"), "--variants", "alibi", "--seeds", "0,1"),
        *("--output", f"{three_by_two}-again"),
    ]
    label, command = repeats.rows[1].runs[1]
    assert label == "seed 1"
    assert shlex.split(command) == [
        *("lmzoo", "fit", "--config", str(three_by_two / "alibi/seed-1/config.yaml")),
        *("--run_dir", f"{three_by_two}-again/alibi/seed-1"),
    ]
    assert dict(repeats.shared) == {
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "versions": "python 3.11.2, torch 2.13.0",
        "tokenizer, SHA-256": "ef" * 32,
        "validation text, SHA-256": "ab" * 32,
        "test text, SHA-256": "cd" * 32,
        "corpus": "python-docs",
        "peak memory": "813 MB",
        "time to train a seed": "1 min 36 s",
        "on": "x86_64, 2 threads",
    }
    assert [row.facts for row in repeats.rows] == [[], [], []]


def test_a_row_is_repeated_with_its_own_seeds(make_comparison, make_run):
    output = make_comparison(["a", "b", "c"], [3])
    for variant, seed in (("a", 0), ("a", 3), ("b", 3)):
        make_run(output, variant, seed)
    repeats = Repeats(load_comparison(output))
    commands = [
        shlex.split(command) for command in (*(row.command for row in repeats.rows), repeats.command(["b", "a"]))
    ]
    assert [words[words.index("--seeds") + 1] for words in commands] == ["0,3", "3", "3", "0,3"]


def test_what_rows_do_not_share_stands_at_each(make_comparison, make_run):
    output = make_comparison(["a", "b", "c"], [0])
    make_run(output, "a", 0)
    make_run(output, "b", 0, passport={"commit": "fedcba"}, results={"peak_memory_mb": 99.0})
    repeats = Repeats(load_comparison(output))
    assert not {"commit", "peak memory"} & set(dict(repeats.shared))
    assert [dict(row.facts).get("commit", "") for row in repeats.rows] == [
        "0123456789abcdef" * 2 + "01234567",
        "fedcba",
        "",
    ]
    assert [dict(row.facts).get("peak memory") for row in repeats.rows] == ["812 MB", "99 MB", None]
    assert repeats.rows[2].runs == []


def test_notes_that_tables_share_stand_once_below_the_last(three_by_two):
    _, page = write_report(three_by_two)
    for text in (page.read_text(), page.with_name("report.md").read_text()):
        assert text.count("is set bold, which says nothing about whether it differs by more than chance") == 1
        assert text.count("adjusted by Holm over the variants of the table") == 2


def test_the_marks_of_single_seeds_are_left_to_the_note(make_comparison, make_run):
    output = make_comparison(["a", "b"], [0])
    make_run(output, "a", 0)
    make_run(output, "b", 0)
    html = write_report(output)[1].read_text()
    assert "<small>n=1</small>" not in html
    assert "n=1: one seed: no spread." in html
