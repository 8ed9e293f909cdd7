"""The documentation cannot rot: its Python runs, its commands parse, its tables and names are those of the code."""

import importlib.util
import inspect
import os
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import jsonargparse
import lmzoo.layers
import lmzoo.layers.functional
import lmzoo.models
import lmzoo.tokenization
import lmzoo.train
import pytest
import yaml
from lmzoo.train import cli
from lmzoo.train.fit.lightning_cli import TrainingCLI
from lmzoo.train.parts.bench.command import BENCHMARKS

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
TINY = ROOT / "configs" / "python-docs" / "tiny.yaml"
TUTORIALS = {"own-part.md"}  # their steps build on each other; a test of their own follows them
PAGES = {str(p.relative_to(DOCS)): p.read_text() for p in sorted(DOCS.rglob("*.md")) if p.name not in TUTORIALS}
PUBLIC = (lmzoo.layers, lmzoo.layers.functional, lmzoo.models, lmzoo.tokenization, lmzoo.train)
OPTIONS = r"^\| `(\w+)` \| default \| meaning \|\n\|[-| ]+\|\n((?:\|.*\n)+)"
CPU = ["--trainer.accelerator", "cpu"]


def blocks(text: str, language: str) -> list[str]:
    """Fenced blocks, also those inside a list."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)
    return [inspect.cleandoc("\n" + code) for _, code in found]


def commands() -> list[list[str]]:
    lines = {line for text in PAGES.values() for block in blocks(text, "bash") for line in block.splitlines()}
    return [words for line in sorted(lines) if (words := shlex.split(line, comments=True))]


def option_tables() -> list[tuple[str, str, dict[str, str]]]:
    """(page, name, option -> default as printed) of every table whose first column is headed by a part's name."""
    tables = []
    for page, text in PAGES.items():
        for match in re.finditer(
            r"^\| `(\w+)` \| default \| meaning \|\n\|[-| ]+\|\n((?:\|.*\n)+)", text, re.MULTILINE
        ):
            rows = [row.split(" | ") for row in match[2].splitlines()]
            tables.append((page, match[1], {row[0].strip("| `"): row[1].strip("` ") for row in rows}))
    return tables


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if blocks(text, "python")])
def test_python_runs_as_printed(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "example"}  # a later block may go on where an earlier one ended
    for code in blocks(PAGES[page], "python"):
        exec(compile(code, page, "exec"), names)


@pytest.mark.parametrize(("page", "name", "printed"), option_tables(), ids=lambda v: v if isinstance(v, str) else "")
def test_an_option_table_is_the_signature(page, name, printed):
    home = next(package for package in PUBLIC if hasattr(package, name))
    parameters = inspect.signature(getattr(home, name)).parameters.values()
    actual = {p.name: "required" if p.default is p.empty else repr(p.default).replace("'", '"') for p in parameters}
    assert printed == actual


def test_every_part_with_options_has_a_table():
    told = {name for _, name, _ in option_tables()}
    frames = {"Attention", "Position", "Head", "Loss", "KeyCache", "CorpusStatistics"}  # nothing that a YAML names
    blocks_of_a_decoder = {"SwiGLU", "FeedForward", "RMSNorm"}  # in the reference alone
    parts = set(lmzoo.layers.__all__) - frames - blocks_of_a_decoder
    own = {n for n in parts if "__init__" in vars(getattr(lmzoo.layers, n))}
    inherited = {"SoftmaxAttention", "ReLUAttention"}  # whose arguments are all those of Attention
    assert own | inherited == told - {"train_tokenizer"}


def test_every_public_name_is_in_the_reference():
    shown = {name for text in PAGES.values() for name in re.findall(r"^::: (\S+)$", text, re.MULTILINE)}
    wanted = {f"{package.__name__}.{name}" for package in PUBLIC for name in package.__all__}
    kept = {"lmzoo.models.NUMBER_EMBEDDINGS"}  # names that the documentation of structured_start spells out
    assert wanted - kept <= shown


def test_every_dotted_name_and_file_exists():
    text = "\n".join(PAGES.values())
    names = set(re.findall(r"\blmzoo(?:\.[A-Za-z_]\w*)+", text))
    assert len(names) > 20
    for name in sorted(names):
        pkgutil.resolve_name(name)
    files = set(re.findall(r"\bconfigs/[\w./-]+\.yaml", text))
    assert files
    assert [f for f in sorted(files) if not (ROOT / f).is_file()] == []


def test_every_yaml_block_is_a_valid_change_of_a_run(tmp_path):
    found = [(page, block) for page, text in PAGES.items() for block in blocks(text, "yaml")]
    found = [(page, block) for page, block in found if not block.startswith("task:")]  # lm-eval's; test_harness runs it
    assert len(found) >= 5
    for i, (page, block) in enumerate(found):
        file = tmp_path / f"{i}-{Path(page).stem}.yaml"
        file.write_text(block + "\n")
        changed = TrainingCLI("fit", ["--config", str(TINY), "--config", str(file), *CPU])
        assert changed.model.counts.total > 0


class ParsedError(Exception):
    """The command line was right; nothing is to be run."""


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_a_command_parses(words, tmp_path, monkeypatch):
    assert words[0] == "lmzoo"
    assert words[1] in cli.COMMANDS
    monkeypatch.chdir(tmp_path)
    if words[1] in ("fit", "validate", "test"):
        for run in ("first", "sums"):
            (tmp_path / "runs" / run).mkdir(parents=True)
            shutil.copy(TINY, tmp_path / "runs" / run / "config.yaml")
        rest = [word for word in words[2:] if word != "--print_config"]
        if words[1] == "fit":
            rest = [word for word in rest if not word.startswith(("runs/", "--run_dir"))]
        TrainingCLI(words[1], [*rest, *CPU])
        return
    if words[1] == "lm-eval":
        harness = pytest.importorskip("lm_eval._cli", reason="lm-eval is not installed")
        monkeypatch.setattr(sys, "argv", words[1:])
        assert harness.HarnessCLI().parse_args().tasks
        return
    parse = jsonargparse.ArgumentParser.parse_args

    def parse_only(self, *args, **kwargs):
        parse(self, *args, **kwargs)
        raise ParsedError

    monkeypatch.setattr(jsonargparse.ArgumentParser, "parse_args", parse_only)
    with pytest.raises(ParsedError):
        cli.main(words[1:])


def test_benchmarks_and_variants_in_commands_exist():
    seen = 0
    for words in commands():
        if words[1] == "bench":
            names = [w for w in words[2:] if not w.startswith("--")]
            names = [n for n in names if not n.isdigit() and not n.endswith(".png")]
            assert set(names) <= set(BENCHMARKS)
            seen += len(names)
        if words[1] == "compare" and "--variants" in words:
            given = words[words.index("--variants") + 1].split(",")
            assert set(given) <= set(yaml.safe_load((ROOT / words[2]).read_text())["variants"])
            seen += len(given)
    assert seen > 10


def test_every_page_is_in_the_navigation():
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    assert set(re.findall(r"[\w/-]+\.md", nav)) - TUTORIALS == set(PAGES)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for module in ("mkdocs", "material", "mkdocstrings_handlers", "latex2mathml"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"no {module} here: pip install lmzoo[docs]")
    target = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(target)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {str(p.relative_to(target)): p.read_text() for p in target.rglob("*.html")}


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_fetches_nothing(site):
    assert len(site) > len(PAGES)  # and the page for what is not found
    for page, html in site.items():
        fetched = re.findall(r"<(?:script|img|iframe)\b[^>]*\bsrc=\"?(https?:[^\s\">]+)", html)
        fetched += re.findall(r"<link\b(?![^>]*rel=\"?canonical)[^>]*\bhref=\"?(https?:[^\s\">]+)", html)
        assert not fetched, f"{page} fetches {fetched}"


@pytest.mark.slow
def test_equations_and_docstrings_are_readable(site):
    for page in ("complex-attention", "softplus-attention", "vq-logits-head", "power-law-decay"):
        assert '<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">' in site[f"parts/{page}.html"]
    for page, html in site.items():
        assert 'class="arithmatex"' not in html, f"{page} holds LaTeX"
        assert not re.search(r":(?:class|func|meth|attr|data|mod):<", html), f"{page} holds a role"
        assert "====" not in html, f"{page} holds a table that is none"
    layers = site["reference/layers.html"]
    assert re.search(r"<td><code>query_key</code></td>\s*<td><a [^>]*><code>transform</code>", layers)
    for package in PUBLIC[:2]:
        page = site["reference/layers.html" if package is lmzoo.layers else "reference/functional.html"]
        for name in package.__all__:
            assert f'id="{package.__name__}.{name}"' in page
