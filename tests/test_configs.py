"""Every shipped YAML file loads, is checked and builds its model; every key of it is explained."""

from pathlib import Path

import pytest
import torch
from lmzoo.train.config import load_run_config
from lmzoo.train.fit.lightning_cli import TrainingCLI, check
from lmzoo.train.report.claims.claim import read_claims

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
RUNS = sorted(p for p in CONFIGS.rglob("*.yaml") if p.parent.name not in ("compare", "claims"))
COMPARISONS = sorted((CONFIGS / "compare").glob("*.yaml"))
CLAIMS = sorted((CONFIGS / "claims").glob("*.yaml"))
SIZES = {"1m": 1e6, "10m": 10e6, "125m": 125e6}


def name(path: Path) -> str:
    return str(path.relative_to(CONFIGS))


@pytest.mark.parametrize("path", RUNS, ids=name)
def test_a_run_file_builds(path):
    cli = TrainingCLI("fit", ["--config", str(path), "--trainer.accelerator", "cpu", "--trainer.precision", "32-true"])
    counts = cli.model.counts
    if path.stem in SIZES:
        assert 0.8 * SIZES[path.stem] < counts.total < 1.2 * SIZES[path.stem]
    if counts.total < 2e7:
        with torch.no_grad():
            nll = cli.model.network.nll(torch.arange(12).view(2, 6))
        assert nll.shape == (2, 5)
        assert torch.isfinite(nll).all()
        assert sum(p.numel() for p in cli.model.network.parameters()) == counts.total


@pytest.mark.parametrize("path", RUNS + COMPARISONS + CLAIMS, ids=name)
def test_every_key_has_a_comment(path):
    lines = path.read_text().splitlines()
    keys = [i for i, line in enumerate(lines) if ":" in line.split("#")[0] and line.split(":")[1].strip()]
    bare = [i for i in keys if "#" not in lines[i] and not lines[i - 1].lstrip().startswith("#")]
    # a part's class is explained by the comment on its slot
    uncommented = [lines[i] for i in bare if not lines[i].strip().startswith("class_path:")]
    assert not uncommented


@pytest.mark.parametrize("path", RUNS, ids=name)
def test_resolving_is_stable(path):
    config, _ = load_run_config(path)
    config.setdefault("trainer", {}).update(accelerator="cpu", precision="32-true")
    resolved = check(config)
    assert check(resolved) == resolved


def test_there_is_something_to_compare():
    assert [p.stem for p in COMPARISONS]


def test_each_paper_states_claims_that_runs_decide():
    files = {path.stem: read_claims(path) for path in CLAIMS}
    papers = {"complexformer", "vq-logits", "softplus-attention", "triadic-suffix", "power-law-decay"}
    assert set(files) == papers
    for file in files.values():
        assert sum(not claim.not_tested for claim in file.claims) >= 2


def test_a_claim_at_a_multiple_finds_the_lengths_its_comparison_evaluates():
    for path in CLAIMS:
        for claim in read_claims(path).claims:
            multiple = claim.protocol.get("multiple")
            if multiple is None:
                continue
            comparison = load_run_config(CONFIGS / "compare" / claim.comparison_file)[0]
            length = comparison["data"]["context_length"]
            if claim.metric.startswith("passkey"):
                assert "passkey" in comparison["probes"]["names"]
                assert multiple * length in comparison["probes"]["lengths"], claim.name
                continue
            assert {length, multiple * length} <= set(comparison["lengths"]), claim.name
