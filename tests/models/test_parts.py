from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.layers import LearnedPosition, LinearHead, Rotary, SoftmaxAttention, SwiGLU
from lmzoo.models import build, describe
from torch import nn


def instantiate(cls: type, factory: Any, *arguments: Any, **init_args: Any) -> Any:
    """Stands for the helper that jsonargparse puts into its partials."""
    return factory(cls, *arguments, **init_args)


ROTARY = {"base": 7.0, "extension": None, "factor": 1.0, "train_length": None}
FORMS: list[Any] = [
    partial(SoftmaxAttention, n_kv_heads=2, position=Rotary(base=7.0)),
    partial(partial(SoftmaxAttention, n_kv_heads=4, position=Rotary(base=7.0)), n_kv_heads=2),
    partial(instantiate, print, SoftmaxAttention, n_kv_heads=2, position=Rotary(base=7.0)),
    {
        "class_path": "SoftmaxAttention",
        "init_args": {"n_kv_heads": 2, "position": {"class_path": "Rotary", "init_args": ROTARY}},
    },
]
DESCRIPTION = {
    "class_path": "lmzoo.layers.SoftmaxAttention",
    "init_args": {"n_kv_heads": 2, "position": {"class_path": "lmzoo.layers.Rotary", "init_args": ROTARY}},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_one_description(form: Any) -> None:
    assert describe(form) == DESCRIPTION
    assert json.loads(json.dumps(describe(form))) == DESCRIPTION
    layer = build(form, 32, 4)
    assert (layer.n_heads, layer.n_kv_heads, layer.position.base) == (4, 2, 7.0)


@pytest.mark.parametrize("form", [SwiGLU, "SwiGLU", "lmzoo.layers.SwiGLU", {"class_path": "SwiGLU"}])
def test_plain_classes(form: Any) -> None:
    assert describe(form) == {"class_path": "lmzoo.layers.SwiGLU", "init_args": {}}
    assert isinstance(build(form, 8), SwiGLU)


def test_instances_describe_their_arguments() -> None:
    template = LearnedPosition(12)
    assert describe(template) == {"class_path": "lmzoo.layers.LearnedPosition", "init_args": {"max_length": 12}}
    assert describe(template.bind(d_model=4, n_heads=1)) == describe(template)
    assert build(template) is template
    assert describe(LinearHead(4, 9, bias=True))["init_args"] == {
        "d_model": 4,
        "vocab_size": 9,
        "tied": False,
        "bias": True,
        "chunk_size": None,
    }


def test_a_misspelt_name_gets_the_nearest() -> None:
    with pytest.raises(ArgumentError, match="SwiGLU"):
        build("SwiGlu2", 8)


def test_a_misspelt_argument_gets_the_nearest() -> None:
    with pytest.raises(ArgumentError, match="n_kv_heads"):
        build({"class_path": "SoftmaxAttention", "init_args": {"kv_heads": 2}}, 8, 2)


@pytest.mark.parametrize(
    "path", ["torch.nn.GELU", "lmzoo.layers.testing.attention_checks.UpdateOnlyCache", "os.system", "lmzoo.layers.F"]
)
def test_foreign_paths_are_refused(path: str) -> None:
    with pytest.raises(ArgumentError, match="class_path"):
        build(path)
    with pytest.raises(ArgumentError, match="class_path"):
        build({"class_path": "SoftmaxAttention", "init_args": {"position": {"class_path": path}}}, 8, 2)


def test_a_refused_path_is_not_imported(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ArgumentError):
        build("evil_module.Part")
    assert describe("evil_module.Part") == {"class_path": "evil_module.Part", "init_args": {}}
    with pytest.raises(SystemExit):
        build("evil_module.Part", allow_foreign=True)


def test_allowed_foreign_paths() -> None:
    assert isinstance(build("torch.nn.GELU", allow_foreign=True), nn.GELU)
    assert describe(nn.GELU) == {"class_path": "torch.nn.modules.activation.GELU", "init_args": {}}
    for path in ("no_such_module.Part", "torch.nn.NoSuchPart", "os.path.join"):
        with pytest.raises(ArgumentError):
            build(path, allow_foreign=True)


@pytest.mark.parametrize("form", [3, None, lambda d: d, {"init_args": {}}, {"class_path": "SwiGLU", "arguments": {}}])
def test_other_things_are_no_parts(form: Any) -> None:
    with pytest.raises(ArgumentError):
        build(form, 8)


def test_a_tensor_has_no_description() -> None:
    with pytest.raises(ArgumentError, match="JSON"):
        describe(partial(SwiGLU, hidden=torch.zeros(2)))
