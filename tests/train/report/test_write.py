import io
import itertools
import json
import re

import pytest
from lmzoo.train.report.terminal import terminal_tables
from lmzoo.train.report.write import write_report
from rich.console import Console


def test_the_report_is_written_from_the_folders_alone(three_by_two):
    _, page = write_report(three_by_two)
    assert sorted(p.name for p in page.parent.iterdir()) == [
        "loss-training.png",
        "loss-validation.png",
        "points-test.png",
        "points-validation.png",
        "records.jsonl",
        "report.html",
        "report.md",
    ]


def test_the_page_needs_nothing_else(three_by_two):
    _, page = write_report(three_by_two)
    html = page.read_text()
    assert "http" not in re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", html)
    assert len(re.findall(r'<img src="data:image/png;base64,', html)) == 4
    assert html.count("prefers-color-scheme: dark") >= 5
    assert '<meta name="viewport"' in html
    assert "<script" not in html
    assert "<link" not in html


def test_both_forms_say_the_same(three_by_two):
    document, page = write_report(three_by_two)
    html, markdown = page.read_text(), page.with_name("report.md").read_text()
    for table in [document.glance, *document.quality, document.cost]:
        for row in table.rows:
            for cell in row.cells:
                assert cell.text in html
                assert cell.text in markdown
    assert document.headline in markdown
    assert "alibi has the lowest test token perplexity: 153.0 ± 6.5" in document.headline
    assert "(token perplexity −7.7 % [−28.4, +19.0]; Holm-adjusted p 0.222: tie). 2 seeds." in document.headline
    for variant in ("rotary", "alibi", "none"):
        assert f"--variants {variant} --output" in html
        assert f"--variants {variant} --output" in markdown


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
        "not run yet: seed 1",
        "stray/seed-0",
    ):
        assert said in text


def test_with_no_finished_run_the_report_says_so(make_comparison, make_run):
    output = make_comparison(["a"], [0])
    make_run(output, "a", 0, state="unfinished")
    document, page = write_report(output)
    assert document.headline == "No run is finished yet."
    assert document.glance is None
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
    document, _ = write_report(three_by_two)
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
    document, _ = write_report(three_by_two)
    console = Console(width=width, file=io.StringIO(), color_system=None)
    for table in terminal_tables(document, width):
        console.print(table)
    text = console.file.getvalue()
    for row in document.glance.rows:
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
        assert text.index("Claims") < text.index("At a glance")
        assert "The output layer has up to 99 % fewer parameters." in text
        assert "heads-fine-tune: vq-1-kmeans against full" in text
        assert "beyond the bound" in text


def test_other_comparisons_have_no_claims(three_by_two):
    document, page = write_report(three_by_two)
    assert document.claims == []
    assert "Claims" not in page.read_text()
