"""Ids that must never change: a model's embedding rows mean nothing under others.

The expected values were equal under tokenizers 0.22.2 with transformers 5.0.0 and tokenizers 0.23.3 with transformers
5.23.0. A failure here after an upgrade means that the new version trains or applies tokenizers differently: do not
update the values, narrow the version range instead.
"""

import hashlib
import json

import pytest
from lmzoo.tokenization import NUMBER_SCHEMES, train_tokenizer

NUMBERS = (
    "The year 1984 had 1234567 people, 3.14159 and 10,000.50; v1.2.3 on 2024-05-06.\n",
    "Über 99 Prozent 007 und ٣٤٥ Ziffern, 12345678901234567890123.\n",
)


def made_up_texts():
    """Words of drawn syllables: enough for any vocabulary here, the same everywhere and for ever."""
    digests = (hashlib.sha256(str(i).encode()).digest() for i in range(6000))
    syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
    words = ("".join(syllables[byte % len(syllables)] for byte in digest[: 2 + digest[-1] % 4]) for digest in digests)
    return [" ".join(words), *NUMBERS]


PROBE = "In 1899, 4096 of 1048576 cats = 0.00390625; é𝟘 １２３ 1e-05 192.168.0.1 12:30"
EXPECTED = {
    "bpe": "3b6c9643830a0aac",
    "digits": "8b2f89276a5cf4ab",
    "l2r3": "71c166276ba4a1ea",
    "r2l3": "244f61f8f3d05752",
    "triadic": "efa9b16d74aac6c6",
    "triadic_suffix": "0de95ecccdc4bbf2",
}


@pytest.mark.parametrize("scheme", sorted(NUMBER_SCHEMES))
def test_ids_of_a_fixed_text_by_a_fixed_tokenizer(scheme):
    tokenizer = train_tokenizer(made_up_texts(), 6000, numbers=scheme)
    ids = tokenizer(PROBE)["input_ids"]
    assert tokenizer.decode(ids) == PROBE
    assert hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:16] == EXPECTED[scheme]
