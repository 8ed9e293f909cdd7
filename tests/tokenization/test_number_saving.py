"""A saved tokenizer is a plain one: any process loads it, without this package, and gets the same ids."""

import json
import subprocess
import sys

import pytest
from lmzoo.tokenization import tokenizer_sha256, train_tokenizer, triad_structure
from transformers import AutoTokenizer

TEXTS = [
    "It grew by 12345678, or 3.14159 %.",
    "\x0e1\x171234567 0.10 v1.2345 192.168.0.1 12m",
    "1" * 40 + "." + "2" * 40,
]

PROGRAM = """
import json, sys
sys.modules["lmzoo"] = None  # an import of the package would fail
from transformers import AutoTokenizer
answers = []
for folder in json.loads(sys.argv[1]):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoded = [tokenizer(text, return_offsets_mapping=True) for text in json.loads(sys.argv[2])]
    ids = [e["input_ids"] for e in encoded]
    answers.append([ids, [e["offset_mapping"] for e in encoded], tokenizer.batch_decode(ids), len(tokenizer)])
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def tokenizers(texts):
    made = {name: train_tokenizer(texts, 600, numbers=name) for name in ("l2r3", "r2l3", "triadic", "triadic_suffix")}
    made["digits"] = train_tokenizer(texts, 320, numbers="digits")
    made["padded"] = train_tokenizer(texts, 600, numbers="triadic", pad_fraction=True)
    return made


def test_ids_in_a_fresh_process_without_this_package(tokenizers, tmp_path):
    folders = []
    for name, tokenizer in tokenizers.items():
        tokenizer.save_pretrained(tmp_path / name)
        folders.append(str(tmp_path / name))
    words = [sys.executable, "-c", PROGRAM, json.dumps(folders), json.dumps(TEXTS)]
    output = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120).stdout
    for (name, tokenizer), answer in zip(tokenizers.items(), json.loads(output), strict=True):
        encoded = [tokenizer(text, return_offsets_mapping=True) for text in TEXTS]
        assert answer[0] == [e["input_ids"] for e in encoded], name
        assert answer[1] == [[list(span) for span in e["offset_mapping"]] for e in encoded], name
        assert answer[2] == [tokenizer.decode(e["input_ids"]) for e in encoded], name
        assert answer[3] == len(tokenizer)
        if name != "padded":
            assert answer[2] == TEXTS


def test_fingerprint_and_structure_survive_saving(tokenizers, tmp_path):
    fingerprints = set()
    for name, tokenizer in tokenizers.items():
        tokenizer.save_pretrained(tmp_path / name)
        loaded = AutoTokenizer.from_pretrained(tmp_path / name)
        assert tokenizer_sha256(loaded) == tokenizer_sha256(tokenizer)
        assert [part.tolist() for part in triad_structure(loaded)] == [
            part.tolist() for part in triad_structure(tokenizer)
        ]
        fingerprints.add(tokenizer_sha256(loaded))
    assert len(fingerprints) == len(tokenizers)


def test_training_gives_the_same_ids_in_another_process(texts, tokenizers):
    program = (
        "import json, sys\n"
        "from lmzoo.tokenization import tokenizer_sha256, train_tokenizer\n"
        "print(tokenizer_sha256(train_tokenizer(json.loads(sys.argv[1]), 600, numbers='triadic')))\n"
    )
    words = [sys.executable, "-c", program, json.dumps(texts)]
    output = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120).stdout
    assert output.strip() == tokenizer_sha256(tokenizers["triadic"])
