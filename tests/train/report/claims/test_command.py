import json
import math

import pytest
import yaml
from lmzoo.errors import ConfigError
from lmzoo.train.cli import main
from lmzoo.train.report.claims.results import read_results


def test_a_heads_comparison_decides_its_claims(results, extra_record, tmp_path, capsys):
    more = [extra_record("vq-1-kmeans", s, 5.5, passport={"head_parameters": 0.9}) for s in (0, 1, 2)]
    folder = results("heads-fine-tune", {"full": [5.0, 5.01, 5.02]}, more=more)
    output = tmp_path / "out"
    assert main(["claims", "configs/claims/vq-logits.yaml", "--runs", str(folder), "--output", str(output)]) == 0
    assert "3 claims: 1 supported, 1 not supported, 1 not tested." in capsys.readouterr().out
    rows = [json.loads(line) for line in (output / "claims.jsonl").read_text().splitlines()]
    assert [row["verdict"] for row in rows] == ["supported", "not supported", "not tested"]
    assert rows[1]["mean"] == pytest.approx(0.49)
    assert rows[1]["claim"]["size"] == 0.04
    assert rows[1]["seeds"] == [0, 1, 2]
    text = (output / "claims.md").read_text()
    assert f"+{100 * math.expm1(0.49):.1f} % [" in text
    assert "not supported (beyond the bound)" in text
    assert "at most +4 %" in text
    assert "supported: the mean lies on the claimed side" in text
    assert (output / "claims.png").read_bytes().startswith(b"\x89PNG")


def test_the_rule_is_in_the_help(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["claims", "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    for word in ("supported:", "not supported:", "tie:", "not tested:", "smaller than claimed"):
        assert word in said


def test_without_runs_nothing_is_tested(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["claims", "configs/claims/complexformer.yaml"]) == 0
    said = capsys.readouterr().out
    assert "there is no comparison in the folder runs; --runs names another one" in said
    assert "5 claims: 5 not tested." in said


def test_a_folder_of_folders_and_the_name_of_a_report(results, tmp_path):
    results("one", {"a": [1.0]})
    results("two", {"a": [1.0]})
    results("three/report", {"a": [1.0]})
    (tmp_path / "results" / "three" / "comparison.yaml").write_text(yaml.safe_dump({"name": "third"}))
    assert [one.name for one in read_results([tmp_path / "results" / "one", tmp_path / "results" / "two"])] == [
        "one",
        "two",
    ]
    assert read_results([tmp_path / "results" / "three" / "report"])[0].name == "third"


def test_a_folder_without_results_is_told(tmp_path, results, capsys):
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        ConfigError, match="empty: expected a comparison's runs or its report's JSON Lines: it holds no"
    ):
        read_results([tmp_path / "empty"])
    assert main(["claims", "--runs", str(tmp_path / "nowhere"), "--output", str(tmp_path / "out")]) == 2
    assert "no such folder" in capsys.readouterr().err
    bad = results("bad", {"a": [1.0]}, analysis=[{"kind": "deciles"}])
    with pytest.raises(ConfigError, match=r"analysis\.jsonl: expected the variant and the seed in every line"):
        read_results([bad])
