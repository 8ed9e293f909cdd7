"""YAML in, merged mappings out, and errors that say where."""

import pytest
from lmzoo.errors import ConfigError
from lmzoo.train.compare.comparison import read_comparison
from lmzoo.train.config import differing_keys, load_run_config, load_yaml, load_yaml_with_places, merge, write_yaml
from lmzoo.train.storage import write_atomically


def test_round_trip_and_scientific_numbers(tmp_path):
    path = tmp_path / "a.yaml"
    write_yaml(path, {"model": {"learning_rate": 0.001, "name": "ü"}})
    assert load_yaml(path) == {"model": {"learning_rate": 0.001, "name": "ü"}}
    path.write_text("a: 1e-3\nb: -2E+4\nc: 12\nd: 1e\n")
    assert load_yaml(path) == {"a": 0.001, "b": -20000.0, "c": 12, "d": "1e"}


def test_places_name_file_and_line(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("# comment\nmodel:\n  d_model: 3\n  attention:\n    class_path: X\n")
    _, places = load_yaml_with_places(path)
    assert places.find("model.d_model") == f"{path}:3"
    assert places.find("model.attention.init_args.base") == f"{path}:4", "the nearest enclosing key"
    assert places.find("data") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1,", ["a.yaml:", "not valid YAML"]),
        ("- 1\n- 2\n", ["expected a mapping", "list"]),
        ("a: 1\nb: 2\na: 3\n", ["a.yaml:3", "twice"]),
        ("a: !!python/object/apply:os.system ['true']\n", ["a.yaml:1", "not valid YAML"]),
    ],
)
def test_unusable_files(tmp_path, text, words):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_yaml(path)
    for word in words:
        assert word in str(error.value)


def test_missing_file_names_the_nearest(tmp_path):
    (tmp_path / "tiny.yaml").write_text("a: 1")
    with pytest.raises(ConfigError, match=r"tinny\.yaml; nearest there: tiny\.yaml"):
        load_yaml(tmp_path / "tinny.yaml")
    with pytest.raises(ConfigError, match="does not exist"):
        load_yaml(tmp_path / "nowhere" / "tiny.yaml")


def test_bases_are_merged_relative_to_the_file(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "base.yaml").write_text("model: {d: 1, e: 2}\ndata: {source: x}\n")
    (tmp_path / "sub" / "over.yaml").write_text("base: ../base.yaml\nmodel: {e: 3}\n")
    config, places = load_run_config(tmp_path / "sub" / "over.yaml")
    assert config == {"model": {"d": 1, "e": 3}, "data": {"source": "x"}}
    assert str(places.find("model.e")).endswith("over.yaml:2")
    assert str(places.find("model.d")).endswith("base.yaml:1")


def test_a_shipped_base_is_found_from_any_folder(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "over.yaml").write_text("base: configs/python-docs/tiny.yaml\nmodel: {n_layers: 1}\n")
    for folder, file in ((tmp_path, "sub/over.yaml"), (tmp_path / "sub", "over.yaml")):
        monkeypatch.chdir(folder)
        config, places = load_run_config(file)
        assert config["model"]["n_layers"] == 1
        assert places.find("data.source").partition(":")[0].endswith("configs/python-docs/tiny.yaml")
    (tmp_path / "sub" / "two.yaml").write_text(
        "base: configs/python-docs/tiny.yaml\nbaseline: a\nvariants: {a: {}, b: {}}\n"
    )
    assert read_comparison(tmp_path / "sub" / "two.yaml").base["data"]["source"] == "python-docs"
    (tmp_path / "sub" / "configs" / "python-docs").mkdir(parents=True)
    (tmp_path / "sub" / "configs" / "python-docs" / "tiny.yaml").write_text("model: {d: 1}\n")
    assert load_run_config("over.yaml")[0] == {"model": {"d": 1, "n_layers": 1}}, "the file beside it comes first"


def test_a_missing_base_is_named_as_it_is_looked_for(tmp_path):
    (tmp_path / "over.yaml").write_text("base: configs/python-docs/tinny.yaml\n")
    with pytest.raises(ConfigError, match=f"{tmp_path}/configs/python-docs/tinny.yaml"):
        load_run_config(tmp_path / "over.yaml")


def test_circular_bases_are_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("base: b.yaml\n")
    (tmp_path / "b.yaml").write_text("base: a.yaml\n")
    with pytest.raises(ConfigError, match="circle"):
        load_run_config(tmp_path / "a.yaml")


def test_merge_replaces_the_arguments_of_another_class():
    base = {"model": {"attention": {"class_path": "A", "init_args": {"x": 1}}, "position": "Rotary"}}
    other = merge(base, {"model": {"attention": {"class_path": "B"}}})
    assert other["model"]["attention"] == {"class_path": "B"}
    same = merge(base, {"model": {"attention": {"class_path": "lmzoo.layers.A", "init_args": {"y": 2}}}})
    assert same["model"]["attention"]["init_args"] == {"x": 1, "y": 2}
    arguments = merge(base, {"model": {"position": {"init_args": {"base": 5.0}}}})
    assert arguments["model"]["position"] == {"class_path": "Rotary", "init_args": {"base": 5.0}}
    name = merge(base, {"model": {"attention": "B"}})
    assert name["model"]["attention"] == "B"
    assert base["model"]["attention"]["init_args"] == {"x": 1}, "the base itself is left alone"


def test_differing_keys():
    one = {"a": {"b": 1, "c": 2}, "run_dir": "x"}
    assert differing_keys(one, {"a": {"b": 1, "c": 3}, "run_dir": "y", "d": None}, ignore=["run_dir"]) == ["a.c", "d"]
    assert differing_keys(one, {"a": {"b": 1, "c": 2}, "run_dir": "x"}) == []
    assert differing_keys(one, one | {"init_args": {}}) == [], "no arguments are as good as none written"


def test_writing_leaves_no_temporary_file(tmp_path):
    write_atomically(tmp_path / "x.txt", "one")
    write_atomically(tmp_path / "x.txt", "two")
    assert (tmp_path / "x.txt").read_text() == "two"
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]
