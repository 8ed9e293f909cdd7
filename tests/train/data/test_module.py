"""The data module: arguments, batches, passport, and checkpoints."""

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lmzoo.errors import ArgumentError
from lmzoo.tokenization import train_tokenizer
from lmzoo.train.data import TextDataModule
from lmzoo.train.data.corpus import CorpusError, MissingSplitError, count_words
from lmzoo.train.data.encode import PreparedSplit
from lmzoo.train.data.windows import SampleOrder, TrainingWindows

VALIDATION = "The owl reads by night ; nothing of it was seen in training .\n"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    train = "".join(f"Line {i} of a text about {i % 7} cats and {i % 11} dogs.\n" for i in range(300))
    (folder / "train.txt").write_text(train)
    (folder / "valid.txt").write_text(VALIDATION * 5)
    return str(folder)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def make(source, cache):
    def make_module(**changes) -> TextDataModule:
        arguments = {"source": source, "vocab_size": 280, "context_length": 16, "batch_size": 8, "cache_dir": cache}
        return TextDataModule(**(arguments | changes))

    return make_module


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "wikitxt-103"}, "source: .*did you mean wikitext-103"),
        ({"raw": True}, "raw: expected false"),
        ({"context_length": 0}, "context_length: expected an integer of at least 1, got 0"),
        ({"eval_context_length": 0}, "eval_context_length: expected an integer of at least 1, got 0"),
        ({"batch_size": -1}, "batch_size: expected an integer of at least 1"),
        ({"eval_batch_size": 0}, "eval_batch_size: expected"),
        ({"vocab_size": 100}, "vocab_size: expected an integer of at least 257"),
        ({"vocab_size": None}, "vocab_size: expected an integer, unless tokenizer"),
        ({"numbers": "triadicc"}, "numbers: expected one of"),
        ({"group": 7}, "group: expected 3"),
        ({"seed": -1}, "seed: expected an integer of at least 0"),
        ({"num_workers": -1}, "num_workers: expected"),
        ({"tokenizer": "./nowhere", "vocab_size": None}, "tokenizer: expected a folder with a tokenizer.json"),
        ({"tokenizer": "gpt2", "numbers": "l2r3"}, "numbers: expected"),
    ],
)
def test_bad_arguments_are_refused_before_any_text_is_read(make, monkeypatch, changes, message):
    monkeypatch.setattr("lmzoo.train.data.module.prepare_split", lambda *_: pytest.fail("read the text"))
    with pytest.raises(ArgumentError, match=message):
        make(**changes)


def test_training_batches(make):
    module = make()
    module.setup("fit")
    loader = module.train_dataloader()
    batches = list(loader)
    assert len(batches) == len(loader) == (module.prepared("train").length - 16) // 16 // 8
    assert all(set(batch) == {"input_ids"} for batch in batches)
    assert all(batch["input_ids"].shape == (8, 17) for batch in batches)
    windows = TrainingWindows(module.prepared("train"), 16, seed=0)
    order = SampleOrder(0, len(windows), 8)
    for step, batch in enumerate(batches):
        expected = torch.stack([windows[(0, int(i))]["input_ids"] for i in order.batch(step)])
        assert torch.equal(batch["input_ids"], expected)


def test_evaluation_batches_account_for_the_whole_split(make):
    module = make(eval_context_length=10, eval_batch_size=3)
    module.setup("validate")
    batches = list(module.val_dataloader())
    assert batches[0]["input_ids"].shape == (3, 11)
    totals = {name: int(sum(batch[name].sum() for batch in batches)) for name in ("scored", "bytes", "words")}
    text = VALIDATION * 5
    assert totals == {
        "scored": len(module.tokenizer.encode(text)),
        "bytes": len(text.encode()),
        "words": count_words(text, "whitespace"),
    }


def test_passport(make, source):
    passport = make().passport("validation")
    assert passport["corpus"] == f"files:{source.split('/')[-1]}"
    assert {"split", "text_sha256", "tokenizer_sha256", "raw", "detokenize", "documents"} <= set(passport)
    assert (passport["words"], passport["bytes"]) == (5 * 14, 5 * len(VALIDATION))
    assert passport["tokens"] == len(make().tokenizer.encode(VALIDATION * 5))
    assert passport["word_rule"] == "whitespace"


def test_the_tokenizer_learns_from_the_training_split_alone(make):
    module = make()
    texts = list(module.corpus.documents("train"))
    assert module.tokenizer.get_vocab() == train_tokenizer(texts, 280).get_vocab()
    both = [*texts, *module.corpus.documents("validation")]
    assert module.tokenizer.get_vocab() != train_tokenizer(both, 280).get_vocab()


def test_the_tokenizer_is_kept(make, monkeypatch):
    ids = make().tokenizer.encode(VALIDATION)
    monkeypatch.setattr(
        "lmzoo.train.data.tokenizer_cache.train_tokenizer", lambda *_, **__: pytest.fail("trained again")
    )
    assert make().tokenizer.encode(VALIDATION) == ids


def test_a_damaged_tokenizer_is_trained_again(make, tmp_path):
    ids = make(cache_dir=str(tmp_path)).tokenizer.encode(VALIDATION)
    [folder] = (tmp_path / "tokenizers").iterdir()
    (folder / "tokenizer.json").write_text("{")
    assert make(cache_dir=str(tmp_path)).tokenizer.encode(VALIDATION) == ids


def test_a_saved_tokenizer(make, tmp_path):
    train_tokenizer(["another text"], 260).save_pretrained(tmp_path)
    module = make(tokenizer=str(tmp_path), vocab_size=None)
    assert len(module.tokenizer) == 260
    assert module.passport("validation")["tokens"] > make().passport("validation")["tokens"]
    assert make(tokenizer=str(tmp_path), vocab_size=260).tokenizer.get_vocab() == module.tokenizer.get_vocab()
    with pytest.raises(ArgumentError, match="vocab_size: expected null or 260"):
        make(tokenizer=str(tmp_path), vocab_size=300).setup("validate")


def test_a_missing_split_is_named_and_others_still_work(make):
    module = make()
    assert module.splits == ("train", "validation")
    with pytest.raises(MissingSplitError, match="no test text"):
        module.setup("test")
    module.setup("fit")


def test_too_little_text_for_a_batch(make):
    with pytest.raises(ArgumentError, match=r"batch_size: expected at most \d+: .* windows of context_length=16"):
        make(batch_size=10_000).train_dataloader()
    with pytest.raises(CorpusError, match="fewer than two windows"):
        make(context_length=100_000).train_dataloader()


def test_token_counts_are_label_counts(make):
    module = make()
    counts = module.token_counts()
    train: PreparedSplit = module.prepared("train")
    assert counts.shape == (280,)
    assert counts.sum() == train.length - 1
    assert counts.tolist() == torch.bincount(torch.from_numpy(train.tokens[1:].astype("int64")), minlength=280).tolist()


def test_workers_give_the_same_batches(make):
    plain = [batch["input_ids"].tolist() for batch in make().train_dataloader()]
    assert [batch["input_ids"].tolist() for batch in make(num_workers=2).train_dataloader()] == plain


def test_what_is_being_built_is_told(make, tmp_path, capsys):
    make(cache_dir=str(tmp_path)).setup("fit")
    told = capsys.readouterr().out
    for part in ("reading the train split", "training a tokenizer of 280 entries", "tokenising the train split"):
        assert part in told
    make(cache_dir=str(tmp_path)).setup("fit")
    assert capsys.readouterr().out == "", "a cached corpus needs no words"


class Recorder(pl.LightningModule):
    """Remembers the batches it was trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[list[list[int]]] = []

    def training_step(self, batch, batch_idx):
        self.seen.append(batch["input_ids"].tolist())
        return (self.weight * batch["input_ids"].float().mean() * 1e-6).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(module, steps, folder=None, every=None, ckpt_path=None, **options):
    recorder = Recorder()
    callbacks = [ModelCheckpoint(folder, every_n_train_steps=every, save_top_k=-1, filename="{step}")] if folder else []
    trainer = pl.Trainer(
        max_steps=steps,
        max_epochs=-1,
        accelerator="cpu",
        logger=False,
        callbacks=callbacks,
        enable_checkpointing=bool(folder),
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        **options,
    )
    trainer.fit(recorder, module, ckpt_path=ckpt_path, weights_only=False)
    return recorder.seen, trainer


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("stop", [3, 7, 8, 10])  # an epoch has 7 steps
def test_a_resumed_run_sees_the_batches_of_an_uninterrupted_one(make, tmp_path, stop):
    batch_size = make().prepared("train").length // 16 // 7 - 1
    arguments = {"batch_size": batch_size, "seed": 5}
    whole, _ = fit(make(**arguments), 20)
    assert make(**arguments).batches_per_epoch() == 7
    assert len({str(batch) for batch in whole}) == 20

    before, _ = fit(make(**arguments), stop + 2, tmp_path, every=stop)
    after, trainer = fit(make(**arguments), 20, ckpt_path=tmp_path / f"step={stop}.ckpt")
    assert before[:stop] + after == whole

    trainer.save_checkpoint(tmp_path / "end.ckpt")  # saved after a run stopped in mid epoch
    further, _ = fit(make(**arguments), 24, ckpt_path=tmp_path / "end.ckpt")
    assert whole + further == fit(make(**arguments), 24)[0]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_whole_run_in_one_iteration_takes_the_same_batches(make):
    by_epochs, _ = fit(make(), 60)
    module = make()
    module.limit_batches(passes=None, steps=30, accumulate=2)
    assert module.run_batches() == 60
    at_once, _ = fit(module, 30, accumulate_grad_batches=2)
    assert at_once == by_epochs
    module.limit_batches(passes=2, steps=10_000)
    assert module.run_batches() == 2 * module.batches_per_epoch()
    with pytest.raises(ArgumentError, match="a limit on passes or steps"):
        module.limit_batches(passes=None, steps=-1)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("change", [{"seed": 6}, {"context_length": 8}, {"batch_size": 4}, {"vocab_size": 281}])
def test_a_checkpoint_is_not_resumed_on_other_samples(make, tmp_path, change):
    fit(make(), 2, tmp_path, every=2)
    [name] = change
    told = "tokenizer_sha256" if name == "vocab_size" else "global_batch_size" if name == "batch_size" else name
    with pytest.raises(CorpusError, match=f"cannot be resumed on these: .*{told} was"):
        fit(make(**change), 4, ckpt_path=tmp_path / "step=2.ckpt")
