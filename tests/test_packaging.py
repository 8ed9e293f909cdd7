"""The package as users get it: light to import, whole in a wheel, under the same name everywhere."""

import ast
import shutil
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
            # statements, not lines of text: docstrings show users how to import
            statements = list(ast.walk(ast.parse(file.read_text())))
            for node in (s for s in statements if isinstance(s, ast.ImportFrom) and s.level > depth):
                target = (node.module or "").partition(".")[0]
                assert target in lower | {"errors", ""}, f"{file}: from {'.' * node.level}{target}"
            if file.parent.name == "templates":  # `lmzoo new` copies these to users, who import by name
                continue
            absolute = {s.module or "" for s in statements if isinstance(s, ast.ImportFrom) and not s.level}
            absolute |= {name.name for s in statements if isinstance(s, ast.Import) for name in s.names}
            own = {name for name in absolute if name.partition(".")[0] == "lmzoo"}
            assert not own, f"{file}: import {sorted(own)} relatively"


def checkout_files() -> list[Path]:
    """What belongs to the checkout, relative to it: no environment, no build output, nothing that git ignores."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True)
        names = [Path(name) for name in done.stdout.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):  # an unpacked archive, or no git
        made = {"build", "dist", "runs", "site"}
        found = [path.relative_to(ROOT) for path in ROOT.rglob("*") if path.parent.name != "__pycache__"]
        unmade = [p for p in found if p.parts[0] not in made and not any(".egg-info" in part for part in p.parts)]
        names = [path for path in unmade if not path.parts[0].startswith(".")]
    return [name for name in names if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of the checkout, so that building leaves nothing in it and takes nothing that was built before."""
    folder = tmp_path_factory.mktemp("source") / "lmzoo"
    for name in checkout_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        str(source),
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
    names = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("lmzoo/")}
    folders = ("layers", "models", "tokenization", "train", "configs")
    suffixes = (".py", ".yaml", ".html", ".css", ".md")
    files = checkout_files()
    packed = {f"lmzoo/{file}" for file in files if file.parts[0] in folders and file.suffix in suffixes}
    root = {f"lmzoo/{file}" for file in files if len(file.parts) == 1 and file.suffix == ".py"}
    assert len(packed) > 100
    assert names == packed | root | {"lmzoo/py.typed"}


@pytest.mark.slow
def test_building_leaves_the_checkout_alone(wheel, source):
    assert (source / "build").is_dir()  # where setuptools leaves its intermediate files
    assert not {"build", "lmzoo.egg-info"} & {file.parts[0] for file in checkout_files()}


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
