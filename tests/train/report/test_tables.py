import json
import math

import pytest
from lmzoo.train.figures.statistics.family import seeds_needed
from lmzoo.train.report.claims.results import results_of
from lmzoo.train.report.costs import cost_table
from lmzoo.train.report.glance import glance_table, headline
from lmzoo.train.report.quality import passport_rows, quality_tables
from lmzoo.train.runs.alike import like_groups, records_frame
from lmzoo.train.runs.load import load_comparison


def tables_of(output):
    comparison = load_comparison(output)
    groups = like_groups(records_frame(comparison.finished))
    return comparison, groups, quality_tables(comparison, groups)


def cells(table, variant):
    row = next(row for row in table.rows if row.variant == variant)
    return dict(zip(table.columns, map(str, row.cells), strict=False))


def test_one_table_a_split_with_mean_spread_and_paired_difference(three_by_two):
    _, _, tables = tables_of(three_by_two)
    assert [table.title for table in tables] == ["Validation", "Test"]
    validation = tables[0]
    assert [row.variant for row in validation.rows] == ["rotary", "alibi", "none"]
    assert [row.baseline for row in validation.rows] == [True, False, False]
    rotary = [math.exp(5.0), math.exp(5.02)]
    alibi = [math.exp(4.9), math.exp(4.96)]
    mean, sd = sum(alibi) / 2, abs(alibi[1] - alibi[0]) / math.sqrt(2)
    logs = [math.log(a / r) for a, r in zip(alibi, rotary, strict=True)]  # -0.1 and -0.06
    assert validation.rows[1].cells[0].text == "2"
    assert str(validation.rows[1].cells[1]) == f"{mean:.1f} ± {sd:.1f}"
    half = 12.706204736 * abs(logs[1] - logs[0]) / 2  # t of one degree of freedom, sd / sqrt 2
    ends = [100 * math.expm1(sum(logs) / 2 + sign * half) for sign in (-1, 1)]
    assert str(validation.rows[1].cells[2]) == f"−7.7 % [−{-ends[0]:.1f}, +{ends[1]:.1f}]"
    tests = cells(validation, "alibi")
    assert tests["Δ nats a token"] == "−0.0800 [−0.3341, +0.1741]"
    # on one degree p = 1 - 2 atan(t) / pi: t 4 and 17/3, p 0.156 and 0.111, the smaller doubled and the other lifted
    assert [cells(validation, name)["p (Holm)"] for name in ("alibi", "none")] == ["0.222", "0.222"]
    assert tests["Verdict"] == "tie"
    assert tests["Seeds for 1 %"] == f"{int(seeds_needed(math.log(1.01), 0.04 / math.sqrt(2)))}"
    assert [cells(validation, "rotary")[c] for c in ("p (Holm)", "Verdict", "Seeds for 1 %")] == ["–"] * 3
    assert [row.cells[1].best for row in validation.rows] == [False, True, False]
    assert str(validation.rows[0].cells[2]) == "–"


def test_one_seed_is_said_to_have_no_spread(make_comparison, make_run):
    output = make_comparison(["a", "b"], [0])
    make_run(output, "a", 0, loss=5.0)
    make_run(output, "b", 0, loss=5.1)
    comparison, groups, tables = tables_of(output)
    assert str(tables[0].rows[1].cells[1]).endswith("n=1")
    assert "n=1: one seed: no spread." in tables[0].notes
    assert "±" not in str(tables[0].rows[1].cells[1])
    assert headline(comparison, groups).endswith("One seed: no verdict.")
    assert cells(tables[0], "b")["Verdict"] == "one seed"
    assert cells(tables[0], "b")["p (Holm)"] == cells(tables[0], "b")["Seeds for 1 %"] == "–"


@pytest.mark.parametrize(
    ("unlike", "named"),
    [
        ({"passport": {"text_sha256": "99" * 32}}, "the text"),
        ({"passport": {"detokenize": True}}, "detokenize"),
        ({"changes": {"protocol": "sliding", "stride": 64}}, "the protocol"),
        ({"changes": {"length": 256}}, "the window's length"),
        ({"changes": {"words": 11_999}}, "the number of words"),
        ({"passport": {"dtype": "bf16-mixed"}}, "the precision (dtype): 32-true here"),
        ({"passport": {"train_length": 64}}, "the context length in training: 128 here"),
    ],
)
def test_unlike_passports_never_share_a_column(make_comparison, make_run, unlike, named):
    output = make_comparison(["a", "b"], [0, 1])
    for seed in (0, 1):
        make_run(output, "a", seed)
        make_run(output, "b", seed, **unlike)
    comparison, groups, tables = tables_of(output)
    assert [table.title for table in tables] == [
        "Validation, table 1 of 2",
        "Validation, table 2 of 2",
        "Test, table 1 of 2",
        "Test, table 2 of 2",
    ]
    assert [[row.variant for row in table.rows] for table in tables] == [["a"], ["b"]] * 2
    assert "stand in 2 tables because these differ" in tables[0].sentence
    assert named in tables[0].sentence
    assert "No Δ: the baseline a has no figure in this table." in tables[1].notes
    glance = glance_table(comparison, groups)
    assert not any("perplexity" in column for column in glance.columns)
    assert any("do not fit into one column" in note for note in glance.notes)
    assert "not scored alike" in headline(comparison, groups)


def test_token_perplexity_is_only_compared_with_equal_tokenizers(make_comparison, make_run):
    output = make_comparison(["a", "b"], [0])
    make_run(output, "a", 0)
    make_run(output, "b", 0, passport={"tokenizer_sha256": "77" * 32})
    comparison, groups, tables = tables_of(output)
    common, of_a, of_b = tables[:3]
    tests = ["p (Holm)", "Verdict", "Seeds for 1 %"]
    assert common.columns == ["Runs", "Word perplexity", "Δ", "Bits per byte", "Δ", "Δ nats a word", *tests]
    assert [row.variant for row in common.rows] == ["a", "b"]
    assert "The rows use 2 tokenizers" in common.sentence
    assert of_a.columns == ["Runs", "Token perplexity", "Δ", "Δ nats a token", *tests]
    assert of_b.columns == ["Runs", "Token perplexity", "Δ"]
    assert [[row.variant for row in table.rows] for table in (of_a, of_b)] == [["a"], ["b"]]
    assert "Bits per byte, test" in glance_table(comparison, groups).columns
    assert "Token perplexity, test" not in glance_table(comparison, groups).columns


def test_equal_figures_are_an_exact_tie_and_a_real_difference_gets_its_word(make_comparison, make_run):
    output = make_comparison(["a", "same", "low", "broken"], [0, 1, 2])
    for seed, low in enumerate((4.50, 4.51, 4.49)):
        make_run(output, "a", seed, loss=5.0)
        make_run(output, "same", seed, loss=5.0)
        make_run(output, "low", seed, loss=low)
        make_run(output, "broken", seed, changes={"token_perplexity": None})
    comparison, groups, tables = tables_of(output)
    words = {row.variant: cells(tables[0], row.variant)["Verdict"] for row in tables[0].rows}
    assert words == {"a": "–", "same": "exact tie", "low": "better", "broken": "no figure"}
    assert cells(tables[0], "low")["p (Holm)"] == "<0.001"
    assert cells(tables[0], "same")["Δ"] == "0.0000"  # of bits per byte, the last of the row's
    said = headline(comparison, groups)
    assert said.startswith("low has the lowest test token perplexity")
    assert "(token perplexity −39.3 % [−40.8, −37.8]; Holm-adjusted p <0.001: better). 3 seeds." in said


def test_the_stated_effect_is_what_seeds_are_counted_for(three_by_two):
    file = three_by_two / "comparison.yaml"
    file.write_text(file.read_text() + "effect: 0.05\n")
    comparison, groups, tables = tables_of(three_by_two)
    needed = int(seeds_needed(math.log(1.05), 0.04 / math.sqrt(2)))
    assert cells(tables[0], "alibi")["Seeds for 5 %"] == f"{needed}"
    glance = glance_table(comparison, groups)
    assert glance.columns[0] == "Runs"  # and no column of what stands below, so that a desk shows all of them
    assert not any("Seeds for" in text for text in (*glance.columns, *glance.notes))


def test_other_versions_share_a_table_that_says_so(make_comparison, make_run):
    output = make_comparison(["a", "b", "c"], [0, 1])
    newer = {"versions": {"python": "3.11.2", "torch": "2.14.0", "lmzoo": "0.2"}, "commit": "0123456789ab+changes"}
    for seed in (0, 1):
        make_run(output, "a", seed)
        make_run(output, "b", seed, passport=newer)
        make_run(output, "c", seed, passport=newer if seed else {})
    comparison, groups, tables = tables_of(output)
    assert [table.title for table in tables] == ["Validation", "Test"]
    said = (
        "Not all of these runs were made with the same software: torch (2.13.0: a and c seed 0; 2.14.0: b and "
        "c seed 1), lmzoo (not recorded: a and c seed 0; 0.2: b and c seed 1) and commit (0123456789: a and c seed 0; "
        "0123456789+changes: b and c seed 1)."
    )
    assert all(table.sentence.endswith(f" words scored. {said}") for table in tables)
    assert glance_table(comparison, groups).sentence == said


def test_like_versions_need_no_sentence(three_by_two):
    comparison, groups, tables = tables_of(three_by_two)
    assert not any("software" in table.sentence for table in tables)
    assert glance_table(comparison, groups).sentence == ""


@pytest.mark.parametrize("kind", ["resident memory of the process", "growth of the process's resident memory"])
def test_speed_and_memory_say_how_they_were_measured(make_comparison, make_run, kind):
    output = make_comparison(["a"], [0])
    make_run(output, "a", 0, results={"peak_memory_is": kind})
    comparison, groups, _ = tables_of(output)
    costs = cost_table(comparison)
    assert "to baseline" in costs.columns
    for table in (costs, glance_table(comparison, groups)):
        notes = " ".join(table.notes)
        assert "in one process after another on this machine; machine load shows in them. " in notes
        assert "For a speed claim see lmzoo speed." in notes
        assert f"Peak memory is the largest over seeds: {kind}." in notes


@pytest.mark.parametrize(
    ("budgets", "said"),
    [
        ([(1, 1), (1, 1)], "in one process after another on this machine; machine load shows in them. "),
        ([(1, 4), (1, 4)], "with up to 4 jobs at once on this machine; machine load shows in them. "),
        ([(1, None), (1, None)], "by tasks of a cluster, whose machines may have done other work too; "),
        ([(1, 4), (2, 4)], "The speeds do not compare: "),
        ([(1, 1), (1, 2)], "The speeds do not compare: "),
    ],
)
def test_runs_that_shared_a_machine_say_so(make_comparison, make_run, budgets, said):
    output = make_comparison(["a", "b"], [0])
    for name, (threads, jobs) in zip("ab", budgets, strict=True):
        make_run(output, name, 0)
        environment = {"torch_threads": threads, "budget": {"threads": threads, "jobs": jobs}}
        (output / name / "seed-0" / "environment.json").write_text(json.dumps(environment))
    comparison, groups, _ = tables_of(output)
    notes = " ".join(glance_table(comparison, groups).notes)
    assert said in notes
    assert ("do not compare" in notes) == (len(set(budgets)) > 1)


def test_unlike_measures_of_memory_do_not_compare(make_comparison, make_run):
    output = make_comparison(["a", "b"], [0])
    make_run(output, "a", 0)
    make_run(output, "b", 0, results={"peak_memory_is": "GPU memory"})
    notes = " ".join(cost_table(load_comparison(output)).notes)
    assert "GPU memory / resident memory of the process. The memory figures do not compare" in notes


def test_costs(three_by_two):
    table = cost_table(load_comparison(three_by_two))
    assert table.columns == [
        *("Runs", "Parameters", "embedding", "body", "head", "tied", "head tables, bytes", "Training tokens"),
        *("Training tokens/s", "to baseline", "Peak memory", "Training time", "FLOPs/token"),
    ]
    row = cells(table, "alibi")
    assert row["Parameters"] == "1.31 M"
    assert row["embedding"] == "524 k"
    assert (row["head"], row["tied"], row["head tables, bytes"]) == ("0", "524 k", "32.8 k")
    assert row["Training tokens/s"] == "6,450 ± 71"
    assert row["Peak memory"] == "813 MB"
    assert row["Training time"] == "1 min 36 s"
    assert row["to baseline"] == "1.00×"
    assert table.sentence == "Measured with processor x86_64, cores 2, threads 2, torch 2.13.0."


def test_unlike_machines_and_budgets_are_said(make_comparison, make_run):
    output = make_comparison(["a", "b"], [0])
    make_run(output, "a", 0)
    folder = make_run(output, "b", 0, results={"train_tokens": 5})
    (folder / "environment.json").write_text('{"processor": "arm64", "cores": 2, "torch_threads": 2, "gpus": []}')
    table = cost_table(load_comparison(output))
    assert "Speeds do not compare" in table.sentence
    assert "processor" in table.sentence
    assert any("budgets differ" in note for note in table.notes)


def test_a_variant_without_a_finished_run_keeps_its_row(make_comparison, make_run):
    output = make_comparison(["a", "b"], [0, 1])
    make_run(output, "a", 0)
    make_run(output, "b", 0, state="failed")
    comparison, groups, _ = tables_of(output)
    glance = glance_table(comparison, groups)
    assert [row.variant for row in glance.rows] == ["a", "b"]
    assert cells(glance, "a")["Runs"] == "1 of 2"
    assert cells(glance, "b")["Runs"] == "0 of 2 (1 diverged)"
    assert cells(glance, "b")["Token perplexity, test"] == "–"


def test_variants_are_ranked_over_the_seeds_that_all_have(make_comparison, make_run):
    output = make_comparison(["full", "b", "c"], [0, 1])
    for variant, seed, loss in (("full", 0, 4.5), ("full", 1, 4.0), ("b", 0, 4.4), ("c", 0, 4.6)):
        make_run(output, variant, seed, loss=loss)
    comparison, groups, tables = tables_of(output)
    said = headline(comparison, groups)
    assert said.startswith("b has the lowest test token perplexity: 90.02, against 99.48 of the baseline full (")
    assert said.endswith(": one seed). Ranked over what all variants have, seed 0; fewest seeds of a variant: 1.")
    for table in (*tables, glance_table(comparison, groups)):
        assert {row.variant for row in table.rows if any(cell.best for cell in row.cells)} == {"b"}
    make_run(output, "b", 1, loss=4.9)
    (output / "b" / "seed-0" / "results.json").unlink()
    comparison, groups, tables = tables_of(output)
    assert headline(comparison, groups) == "No seed has a figure of every variant to rank by."
    assert not any(cell.best for table in tables for row in table.rows for cell in row.cells)


def test_no_variant_of_which_a_seed_diverged_is_called_better(make_comparison, make_run):
    output = make_comparison(["a", "low", "broken"], [0, 1, 2])
    for seed, shift in enumerate((0.0, 0.01, -0.01)):
        make_run(output, "a", seed)
        make_run(output, "low", seed, loss=4.5 + shift, state="failed" if seed == 2 else "finished")
        folder = make_run(output, "broken", seed, loss=4.5 + shift, state="failed" if seed == 2 else "finished")
    (folder / "failure.json").write_text(json.dumps({"reason": "out of memory"}))
    comparison, groups, tables = tables_of(output)
    glance = glance_table(comparison, groups)
    said = (
        "1 of 3 seeds of low diverged and 1 of 3 seeds of broken failed: these runs have no figure, and every mean is"
    )
    for table in (glance, *tables):
        assert cells(table, "low")["Verdict"] == "diverged"
        assert cells(table, "broken")["Verdict"] == "better"
        assert sum(note.startswith(said) for note in table.notes) == 1
    assert [cells(glance, v)["Runs"] for v in ("low", "broken")] == ["2 of 3 (1 diverged)", "2 of 3 (1 failed)"]
    assert results_of(comparison).fates["low"] == {0: "finished", 1: "finished", 2: "diverged"}


def test_passports_show_what_is_shared_and_what_differs(three_by_two):
    _, groups, _ = tables_of(three_by_two)
    shared, differing = passport_rows(groups[0])
    assert dict(shared)["corpus"] == "python-docs"
    assert dict(shared)["text_sha256"] == "ab" * 32
    assert dict(shared)["parameters"] == "1,312,512"
    assert differing is None


def test_debiased_figures_stand_in_a_table_of_their_own(make_comparison, make_run):
    output = make_comparison(["plain", "decay"], [0, 1])
    unshifted = {"debiased_nll": 90_000.0, "debiased_cross_entropy": 4.5}
    unshifted |= {"debiased_token_perplexity": 90.0, "debiased_word_perplexity": 1800.0, "debiased_bits_per_byte": None}
    for seed in (0, 1):
        make_run(output, "plain", seed, loss=4.4)
        make_run(output, "decay", seed, loss=5.5, changes=unshifted)
    _, groups, tables = tables_of(output)
    assert [t.title for t in tables] == ["Validation", "Validation, debiased", "Test", "Test, debiased"]
    before, after = (cells(table, "decay") for table in tables[:2])
    assert before["Token perplexity"].startswith("244.69")
    assert after["Token perplexity"].startswith("90.0")
    assert "nan" in after["Bits per byte"].lower() or after["Bits per byte"].startswith("–"), "no plain figure instead"
    plain = [cells(table, "plain")["Token perplexity"] for table in tables[:2]]
    assert plain[0] == plain[1]
    assert "w(t)" in tables[1].sentence
    common, differing = passport_rows(groups[0])
    assert not any("debiased" in key for key, _ in common)
    assert differing is None


def test_no_debiased_figures_no_table(three_by_two):
    assert not any("debiased" in table.title for table in tables_of(three_by_two)[2])


def of_two_documents(*nats, words=(500, 700)):
    """Sums of two documents of 1,000 tokens each, with so many nats a token."""
    nll = [1000 * one for one in nats]
    return {"document": [0, 1], "nll": nll, "tokens": [1000, 1000], "words": list(words), "bytes": [1, 1]}


def test_how_far_a_difference_would_move_with_other_documents(make_comparison, make_run):
    output = make_comparison(["a", "b"], [0, 1])
    for seed in (0, 1):
        make_run(output, "a", seed, loss=5.0, changes={"by_document": of_two_documents(5.0, 6.0)})
        make_run(output, "b", seed, loss=5.1, changes={"by_document": of_two_documents(5.1 + 0.02 * seed, 5.8)})
    _, _, (table, _) = tables_of(output)
    # a quarter of the draws holds the first document twice, a quarter the second; the mean over seeds is 0.11 or -0.2
    assert cells(table, "b")["With other documents"] == "[−0.2000, +0.1100]"
    assert cells(table, "a")["With other documents"] == "–"
    assert table.columns.index("With other documents") == table.columns.index("Δ nats a token") + 1
    assert any("from drawing the 2 scored documents with replacement" in note for note in table.notes)
    assert not any("Without sums" in note for note in table.notes)


def test_without_sums_there_is_no_column_and_of_other_documents_no_interval(make_comparison, make_run, three_by_two):
    for table in tables_of(three_by_two)[2]:
        assert "With other documents" not in table.columns
    output = make_comparison(["a", "b"], [0], folder="others")
    make_run(output, "a", 0, changes={"by_document": of_two_documents(5.0, 6.0)})
    make_run(output, "b", 0, changes={"by_document": of_two_documents(5.0, 6.0) | {"document": [0, 2]}})
    assert cells(tables_of(output)[2][0], "b")["With other documents"] == "–"


def test_runs_without_sums_by_document_are_named(make_comparison, make_run):
    output = make_comparison(["a", "b", "c"], [0, 1])
    for variant in ("a", "b", "c"):
        for seed in (0, 1):
            changes = {"by_document": of_two_documents(5.0, 6.0)} if (variant, seed) != ("b", 1) else {}
            make_run(output, variant, seed, changes=changes)
    table = tables_of(output)[2][0]
    assert [cells(table, name)["With other documents"] for name in "abc"] == ["–", "–", "[0.0000, 0.0000]"]
    assert "Without sums by document, and so without that interval: b seed 1." in table.notes


def test_debiased_tables_draw_debiased_documents(make_comparison, make_run):
    output = make_comparison(["a", "b"], [0])
    make_run(output, "a", 0, changes={"by_document": of_two_documents(5.0, 6.0)})
    debiased = {"nll": 1.0, "token_perplexity": 99.0, "word_perplexity": 99.0, "bits_per_byte": 1.0}
    debiased["by_document"] = of_two_documents(4.7, 5.5)
    changes = {f"debiased_{name}": value for name, value in debiased.items()}
    make_run(output, "b", 0, changes=changes | {"by_document": of_two_documents(5.5, 6.5)})
    tables = {table.title: table for table in tables_of(output)[2]}
    assert cells(tables["Test"], "b")["With other documents"] == "[+0.5000, +0.5000]"
    assert cells(tables["Test, debiased"], "b")["With other documents"] == "[−0.5000, −0.3000]"
