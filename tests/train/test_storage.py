"""A file is whole or not there, whoever writes it at the same time."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from lmzoo.errors import ConfigError
from lmzoo.train.storage import held, is_held, open_atomically, read_json, write_json


def test_many_write_one_file_at_the_same_time(tmp_path):
    file = tmp_path / "facts.json"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: write_json(file, {"i": i, "fill": "x" * 10_000}), range(100)))
    assert read_json(file)["fill"] == "x" * 10_000
    assert list(tmp_path.iterdir()) == [file]


def test_a_failed_write_leaves_the_old_content_and_nothing_else(tmp_path):
    file = tmp_path / "facts.json"
    write_json(file, {"i": 1})
    with pytest.raises(TypeError), open_atomically(file) as stream:
        stream.writelines([b"half", 1])  # type: ignore[list-item]
    assert read_json(file) == {"i": 1}
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_is_held_by_one(tmp_path):
    assert not is_held(tmp_path / "run")
    with held(tmp_path / "run", ConfigError("first")):
        assert is_held(tmp_path / "run")
        with pytest.raises(ConfigError, match="second"), held(tmp_path / "run", ConfigError("second")):
            pass
    assert not is_held(tmp_path / "run")
