"""The conventions of lm-eval and fairseq: against loops over lists, and against lm-eval's own code where it is."""

import importlib.util
import math
import re

import pytest
from lmzoo.errors import ArgumentError
from lmzoo.train import extrapolate
from lmzoo.train.evaluate.extrapolate.conventions import lm_eval_detokenize, wikitext_pages

PAGES = [
    " \n = First page = \n \n The players ' role @-@ playing game cost 1 @,@ 000 £ , it 's ( said ) . \n"
    ' = = A section = = \n A " quoted text " at 3 @.@ 5 ° C ; N was here : yes ! \n',
    "\n = Second = \n It is [ short ] and { small } ? \n",
]


def test_pages_begin_at_titles():
    text = " \n = One = \n \n text \n = = Section = = \n more = \n = Two = \n \n end \n"
    pages = list(wikitext_pages(text))
    assert pages == [" = One = \n \n text \n = = Section = = \n more = ", " = Two = \n \n end \n"]
    assert list(wikitext_pages("no title\nat all")) == ["no title\nat all"]


def test_detokenised_by_lm_evals_rules():
    assert lm_eval_detokenize("a role @-@ playing 1 @,@ 000 ( x ) it 's") == "a role-playing 1,000 (x) it's"
    assert lm_eval_detokenize(' = = Title = = \n say " so " N times : 3 ° C') == ' == Title ==\nsay "so" 1 times: 3°C'


@pytest.mark.skipif(importlib.util.find_spec("lm_eval") is None, reason="lm-eval is not installed")
def test_detokenised_as_lm_eval_does():
    from lm_eval.tasks.wikitext.preprocess_wikitext import process_results, wikitext_detokenizer

    for page in PAGES:
        assert lm_eval_detokenize(page) == wikitext_detokenizer({"page": page})
        assert process_results({"page": page}, [(-1.0, False)])["word_perplexity"][1] == len(re.split(r"\s+", page))


def lm_eval_contexts(n: int, length: int) -> dict[int, int]:
    """{index in [prefix, *ids]: context}, window by window as lists: a whole last window reaches back."""
    found = {}
    done = 0
    while done < n:
        count = min(length, n - done)
        for i in range(count):
            reach = 0 if done == 0 else length - count
            found[done + i + 1] = i + 1 + reach
        done += count
    return found


@pytest.mark.parametrize("length", [5, 16, 1000])
def test_lm_eval(make_decoder, tokenizer, brute, length):
    model = make_decoder()
    (record,) = extrapolate(model, tokenizer, PAGES, lengths=[length], protocol="lm-eval")
    nll = tokens = 0
    for page in PAGES:
        ids = [tokenizer.eos_token_id, *tokenizer(lm_eval_detokenize(page), add_special_tokens=False)["input_ids"]]
        nll += sum(brute(model, ids, lm_eval_contexts(len(ids) - 1, length)).values())
        tokens += len(ids) - 1
    words = sum(len(re.split(r"\s+", page)) for page in PAGES)
    size = sum(len(page.encode()) for page in PAGES)
    assert (record["tokens"], record["words"], record["bytes"]) == (tokens, words, size)
    assert record["nll"] == pytest.approx(nll, rel=1e-12)
    assert record["word_perplexity"] == pytest.approx(math.exp(nll / words))
    assert record["bits_per_byte"] == pytest.approx(nll / size / math.log(2))
    assert record["by_document"]["document"] == [0, 1]


@pytest.mark.skipif(importlib.util.find_spec("lm_eval") is None, reason="lm-eval is not installed")
@pytest.mark.parametrize("length", [5, 16, 64])
def test_lm_eval_by_its_own_task_code(gpt2, tokenizer, brute, length):
    from lm_eval.api.metrics import bits_per_byte, weighted_perplexity
    from lm_eval.tasks.wikitext.preprocess_wikitext import process_results, wikitext_detokenizer
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    by_page = []
    for page in PAGES:
        ids = tokenizer(wikitext_detokenizer({"page": page}), add_special_tokens=False)["input_ids"]
        total = 0.0
        for window in get_rolling_token_windows(ids, tokenizer.eos_token_id, length, 1):
            context, scored = make_disjoint_window(window)
            places = range(len(context), len(context) + len(scored))
            total -= sum(brute(gpt2, context + scored, {j: j for j in places}).values())
        by_page.append(process_results({"page": page}, [total]))
    (record,) = extrapolate(gpt2, tokenizer, PAGES, lengths=[length], protocol="lm-eval")
    words = weighted_perplexity([page["word_perplexity"] for page in by_page])
    assert record["word_perplexity"] == pytest.approx(words, rel=1e-12)
    assert record["bits_per_byte"] == pytest.approx(bits_per_byte([p["bits_per_byte"] for p in by_page]), rel=1e-12)


@pytest.mark.parametrize(("length", "stride"), [(7, None), (16, 5), (16, 16), (1000, 3)])
def test_fairseq(make_decoder, tokenizer, brute, length, stride):
    model = make_decoder()
    options = {} if stride is None else {"stride": stride}
    (record,) = extrapolate(model, tokenizer, PAGES, lengths=[length], protocol="fairseq", **options)
    eos = tokenizer.eos_token_id
    ids = [eos]
    lines = [line for page in PAGES for line in page.split("\n")[:-1]]
    for line in lines:
        ids += [*tokenizer(" ".join(line.split()), add_special_tokens=False)["input_ids"], eos]
    block = stride or length
    # a block's first target has the block before it in view as far as the window reaches, and one token at the least
    contexts = {j: min((j - 1) % block + 1 + length - block, j) for j in range(1, len(ids))}
    nll = sum(brute(model, ids, contexts).values())
    assert record["nll"] == pytest.approx(nll, rel=1e-12)
    assert record["tokens"] == len(ids) - 1
    assert record["words"] == sum(len(line.split()) + 1 for line in lines)
    assert record["bytes"] == sum(len(page.encode()) for page in PAGES)


def test_conventions_refuse_empty_pages(make_decoder, tokenizer):
    with pytest.raises(ArgumentError, match="none of them empty"):
        extrapolate(make_decoder(), tokenizer, ["a", ""], lengths=[8], protocol="lm-eval")
