"""The notebooks run from top to bottom, also where nothing is published, and keep no outputs."""

import shutil
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PARTS = {
    "complex_attention",
    "softplus_attention",
    "vq_logits_head",
    "triadic_suffix_numbers",
    "power_law_decay",
}


def executed(file, folder):
    """The notebook with its outputs, run in that folder."""
    nbclient = pytest.importorskip("nbclient", reason="pip install lmzoo[notebooks]")
    pytest.importorskip("ipykernel", reason="pip install lmzoo[notebooks]")
    book = nbformat.read(file, as_version=4)
    nbclient.NotebookClient(book, timeout=240, resources={"metadata": {"path": str(folder)}}).execute()
    return book


def printed(book):
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")


def pictures(book):
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def test_there_is_one_for_each_part_and_one_for_the_whole():
    assert {file.stem for file in NOTEBOOKS} == PARTS | {"comparison"}


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_it_is_valid_short_and_without_outputs(file):
    book = nbformat.read(file, as_version=4)
    nbformat.validate(book)
    assert book.cells[0].cell_type == "markdown"
    assert book.cells[0].source.startswith("# ")
    assert "$$" in book.cells[0].source, "the equation comes first"
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert sum(len(cell.source.splitlines()) for cell in code) <= 130
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


@pytest.mark.slow
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_it_runs_from_top_to_bottom(file):
    book = executed(file, FOLDER)
    assert pictures(book) >= 2 - (file.stem == "comparison")
    if not any(FOLDER.glob("results/*/comparison.yaml")):
        assert "Nothing is published" in printed(book)


@pytest.mark.slow
def test_where_nothing_is_published_it_says_so(tmp_path):
    for name in ("complex_attention.ipynb", "moment.py"):
        shutil.copy(FOLDER / name, tmp_path)
    book = executed(tmp_path / "complex_attention.ipynb", tmp_path)
    assert "Nothing is published of the comparison attention: results/attention is not there." in printed(book)
