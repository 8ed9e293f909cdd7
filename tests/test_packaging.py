"""The package as users get it: light to import, whole in a wheel, under the same name everywhere."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def run_python(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_layers_loads_torch_and_nothing_heavier():
    code = "import sys, lmzoo.layers, lmzoo.layers.reference; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = set(run_python(code).split())
    assert "torch" in loaded
    for heavy in (
        "lightning",
        "transformers",
        "datasets",
        "jsonargparse",
        "tokenizers",
        "pandas",
        "matplotlib",
        "rich",
    ):
        assert heavy not in loaded


def test_importing_lmzoo_itself_loads_not_even_torch():
    assert run_python("import sys, lmzoo; print(lmzoo.__version__, 'torch' in sys.modules)").split()[1] == "False"


def test_imports_go_downwards():
    allowed = {
        "layers": set(),
        "tokenization": set(),
        "models": {"layers"},
        "train": {"layers", "models", "tokenization"},
    }
    for folder, lower in allowed.items():
        for file in (ROOT / folder).rglob("*.py"):
            depth = len(file.relative_to(ROOT).parts) - 1
            text = file.read_text()
            for dots, target in re.findall(r"^\s*from (\.+)(\w*)", text, re.MULTILINE):
                leaves_folder = len(dots) > depth
                assert not leaves_folder or target in lower | {"errors", "_version", ""}, f"{file}: from {dots}{target}"
            assert not re.search(r"^\s*(from|import) lmzoo\b", text, re.MULTILINE), f"{file}: import relatively"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        str(ROOT),
        "--no-deps",
        "--no-build-isolation",
        "-q",
        "-w",
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("lmzoo-*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_yaml_file_and_no_tests(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    folders = ("layers", "models", "tokenization", "train", "configs")
    for folder in folders:
        for file in (ROOT / folder).rglob("*"):
            if file.suffix in (".py", ".yaml", ".html", ".css", ".md") and "__pycache__" not in file.parts:
                assert f"lmzoo/{file.relative_to(ROOT)}" in names
    assert "lmzoo/py.typed" in names
    assert not [n for n in names if "tests/" in n or "notebooks/" in n]


@pytest.mark.slow
def test_the_wheel_works_without_the_checkout(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r});"
        "sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in str(f).lower()];"
        "import lmzoo.layers, lmzoo.train.config as c; print(lmzoo.layers.__file__);"
        "print(c.find_config('configs/python-docs/tiny.yaml'))"
    )
    lines = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    ).stdout.splitlines()
    assert all(line.startswith(str(tmp_path)) for line in lines), lines


@pytest.mark.slow
def test_type_checkers_see_the_package(tmp_path):
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "lmzoo").symlink_to(ROOT)
    user = tmp_path / "user.py"
    user.write_text(
        "from lmzoo.layers import SoftmaxAttention\n"
        "reveal_type(SoftmaxAttention(8, 2).n_heads)\n"
        "SoftmaxAttention('8', 2)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--follow-imports=silent", f"--cache-dir={tmp_path / 'cache'}", str(user)],
        capture_output=True,
        text=True,
        check=False,
        env={"MYPYPATH": str(tmp_path / "links"), "PATH": ""},
    )
    assert 'Revealed type is "int"' in done.stdout or 'Revealed type is "builtins.int"' in done.stdout, done.stdout
    assert 'incompatible type "str"' in done.stdout
