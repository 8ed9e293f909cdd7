import pytest
from lmzoo.errors import ConfigError
from lmzoo.train.runs.load import load_comparison, load_runs, read_metrics


def test_runs_are_read_in_the_order_of_the_file_and_of_seeds(three_by_two):
    comparison = load_comparison(three_by_two)
    assert [(run.variant, run.seed) for run in comparison.runs] == [
        ("rotary", 0), ("rotary", 1), ("alibi", 0), ("alibi", 1), ("none", 0), ("none", 1),
    ]  # fmt: skip
    assert {run.state for run in comparison.runs} == {"finished"}
    assert comparison.missing == []
    assert comparison.strays == []


def test_half_a_line_is_left_out_and_counted(tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"split": "train", "step": 10, "loss": 2.0}\n{"split": "tra')
    rows, unreadable = read_metrics(file)
    assert rows == [{"split": "train", "step": 10, "loss": 2.0}]
    assert unreadable == 1


def test_a_step_written_again_after_a_resume_counts_once(tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.write_text(
        '{"split": "train", "step": 10, "loss": 2.0}\n{"split": "train", "step": 20, "loss": 9.0}\n'
        '{"split": "train", "step": 20, "loss": 1.0}\n'
    )
    assert [row["loss"] for row in read_metrics(file)[0]] == [2.0, 1.0]


def test_states_and_reasons(make_comparison, make_run):
    output = make_comparison(["a", "b"], [0, 1])
    make_run(output, "a", 0, state="failed")
    make_run(output, "a", 1, state="unfinished")
    make_run(output, "b", 0)
    make_run(output, "gone", 0)
    comparison = load_comparison(output)
    assert [run.state for run in comparison.runs] == ["failed", "unfinished", "finished"]
    assert comparison.runs[0].reason == "step 17: the loss is nan (first seen in blocks.1.attention)"
    assert comparison.missing == [("b", 1)]
    assert comparison.strays == ["gone/seed-0"]


def test_a_finished_run_has_no_failure_left(make_comparison, make_run):
    output = make_comparison(["a"], [0])
    folder = make_run(output, "a", 0)
    (folder / "failure.json").write_text('{"reason": "an earlier attempt"}')
    assert load_runs(output)[0].state == "finished"
    assert load_runs(output)[0].reason == ""


def test_what_is_no_comparison_or_no_json_is_an_error_with_its_place(tmp_path, make_comparison, make_run):
    with pytest.raises(ConfigError, match=r"holds no comparison\.yaml"):
        load_comparison(tmp_path)
    output = make_comparison(["a"], [0])
    (make_run(output, "a", 0) / "results.json").write_text('{"finished": true')
    with pytest.raises(ConfigError, match=r"a/seed-0/results\.json.*not valid JSON"):
        load_comparison(output)
