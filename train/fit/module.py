"""The LightningModule: a decoder made of parts, its loss, its optimizer and its evaluation."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn

from ...errors import require
from ...layers import Attention, CrossEntropy, Head, Loss, Position, SoftmaxAttention, SwiGLU
from ...layers.common.part import Part, defines
from ...models import NUMBER_EMBEDDINGS, Counts, Decoder, count
from ..data import TextDataModule
from .corpus_statistics import corpus_statistics
from .init_from import InitialModel, Transfer, start_from_structure
from .optimization import DivergenceGuard, adamw, check_gradients, warmup_cosine
from .perplexity import TextPerplexity
from .processes import ShardedStrategy, full, gathered, is_sharded, mean_over_processes, shard, whole

Batch = dict[str, Tensor]


class LanguageModule(pl.LightningModule):
    """A small decoder language model assembled from parts, ready to train.

    The network is built when training starts; constructing this module only checks that the parts fit together
    and counts them (on torch's meta device, without memory or data).

    Args:
        vocab_size: number of token ids V; taken from the data's tokenizer on the command line.
        d_model: width d of the hidden states.
        n_layers: number of blocks.
        n_heads: number of query heads H of every attention layer; must divide ``d_model``.
        attention: the attention part, called as ``attention(d_model, n_heads)`` for every block.
        position: the position part; null leaves the attention's own default (Rotary for softmax attention).
        feed_forward: the feed-forward part, called as ``feed_forward(d_model)``.
        head: the output head, called as ``head(d_model, vocab_size)``; null is a LinearHead tied to the embedding.
        loss: what is optimised, a function of (nll, target); plain cross-entropy is always logged beside it.
        dropout: probability of dropping, on the embedding and on the output of every sublayer.
        init_std: standard deviation of the initial weights; residual projections get it divided by sqrt(2 n_layers).
        number_embedding: where the embeddings of triads start, ``independent`` of each other or ``structured``, from a
            part for the digits and one for the magnitude; wants ``data.numbers: triadic``.
        learning_rate: the peak of the schedule.
        min_learning_rate_ratio: the schedule's end, as a fraction of ``learning_rate``.
        warmup_steps: optimizer steps of linear warm-up.
        weight_decay: AdamW's decay of weight matrices; embeddings, norms and biases do not decay.
        betas: AdamW's two moment decays.
        compile: compile the network with ``torch.compile``.
        seed: of the initialisation and of dropout; taken from ``seed_everything`` on the command line.

    Raises:
        ArgumentError: for a value out of range or parts that do not fit together.
    """

    def __init__(
        self,
        vocab_size: int = 8192,
        d_model: int = 128,
        n_layers: int = 4,
        n_heads: int = 4,
        attention: Callable[[int, int], Attention] = SoftmaxAttention,
        position: Position | None = None,
        feed_forward: Callable[[int], nn.Module] = SwiGLU,
        head: Callable[[int, int], Head] | None = None,
        loss: Callable[[], Loss] = CrossEntropy,
        dropout: float = 0.0,
        init_std: float = 0.02,
        number_embedding: str = "independent",
        learning_rate: float = 1e-3,
        min_learning_rate_ratio: float = 0.1,
        warmup_steps: int = 100,
        weight_decay: float = 0.1,
        betas: tuple[float, float] = (0.9, 0.95),
        compile: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        require(learning_rate > 0, "learning_rate", "a positive number", learning_rate)
        require(
            0 <= min_learning_rate_ratio <= 1, "min_learning_rate_ratio", "between 0 and 1", min_learning_rate_ratio
        )
        require(warmup_steps >= 0, "warmup_steps", "0 or more", warmup_steps)
        require(weight_decay >= 0, "weight_decay", "0 or more", weight_decay)
        require(all(0 <= beta < 1 for beta in betas), "betas", "two numbers in [0, 1)", betas)
        expected = " or ".join(NUMBER_EMBEDDINGS)
        require(number_embedding in NUMBER_EMBEDDINGS, "number_embedding", expected, number_embedding)
        self.vocab_size, self.seed = vocab_size, seed
        self.number_embedding = number_embedding
        self.learning_rate, self.min_learning_rate_ratio = learning_rate, min_learning_rate_ratio
        self.warmup_steps, self.weight_decay, self.betas = warmup_steps, weight_decay, betas
        self.compile_network = compile
        self.parts: dict[str, Any] = {
            "d_model": d_model,
            "n_layers": n_layers,
            "n_heads": n_heads,
            "attention": attention,
            "position": position,
            "feed_forward": feed_forward,
            "dropout": dropout,
            "init_std": init_std,
        }
        if head is not None:
            self.parts["head"] = head
        self.loss = loss()
        # On the meta device: wrong sizes are told now, and parameters and FLOPs counted, before any memory or data.
        self.counts: Counts = count(vocab_size, **self.parts)
        self.decoder: Decoder | None = None
        self.guard = DivergenceGuard(vocab_size)
        self.perplexity = TextPerplexity()
        self.last_loss = self.last_cross_entropy = torch.zeros(())
        self.grad_norm = torch.zeros(())
        self.initial: tuple[InitialModel, Transfer] | None = None
        self.resuming = False
        self._scoring = contextlib.ExitStack()
        self._begun = False

    # -- building -----------------------------------------------------------------------------------------------

    def start_from(self, model: InitialModel) -> Transfer:
        """Let training begin with the weights of an exported model, which are read when the network is built.

        Raises:
            ConfigError: its body is another one than this module's.
        """
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            transfer = model.plan(Decoder(self.vocab_size, **self.parts))
        self.initial = model, transfer
        return transfer

    def check_start(self) -> None:
        """Raise :class:`ArgumentError` if the head can only start from a trained model and there is none."""
        if self.initial is None and "head" in self.parts:
            with torch.device("meta"), torch.random.fork_rng(devices=[]):
                head = self.parts["head"](self.parts["d_model"], self.vocab_size)
            reason = head.needs_trained_model
            require(reason is None, "init_from", f"the folder of a finished run: {reason}", None)

    def configure_model(self) -> None:
        """Build the network. Its weights depend on the seed only, not on earlier use of the random generator.

        Before training it loads the weights to start from, and tells parts and loss about the corpus.
        """
        if self.decoder is None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                self.decoder = Decoder(self.vocab_size, **self.parts)
            self._nll: Callable[..., Tensor] = self.decoder.nll
            if self.compile_network:
                self._nll = torch.compile(self.decoder.nll)
        if self._trainer is not None and self.trainer.state.fn == "fit" and not self._begun:
            self._begun = True
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                self._begin(self.decoder)
            if isinstance(self.trainer.strategy, ShardedStrategy):
                shard(self.decoder, self.trainer.strategy.device_mesh)
                self._nll = self.decoder.nll

    def _begin(self, decoder: Decoder) -> None:
        """What comes between building a network and training it. A resumed run finds most of it in its checkpoint."""
        learners: list[Any] = [self.loss]
        embedding = None
        if not self.resuming:
            loaded: tuple[str, ...] = ()
            if self.initial is not None:
                model, transfer = self.initial
                model.load(decoder, transfer)
                embedding, loaded = model.embedding(), transfer.loaded
            elif self.number_embedding == "structured":
                start_from_structure(decoder, self.trainer.datamodule.tokenizer, self.seed)
            # a head that was loaded keeps what it learned of the corpus it was trained on
            learners += [m for name, m in decoder.named_modules() if not any(n.startswith(f"{name}.") for n in loaded)]
        learners = [module for module in learners if defines(module, Part.use_corpus)]
        data = self.trainer.datamodule
        if learners and isinstance(data, TextDataModule):
            statistics = corpus_statistics(data, embedding)
            for module in learners:
                module.use_corpus(statistics)

    def gather(self) -> None:
        """After sharded training: let every process have the whole network, which scoring and the export need."""
        if is_sharded(self.network):
            with torch.random.fork_rng(devices=[]):
                self.decoder = gathered(self.network, Decoder(self.vocab_size, **self.parts))
            self._nll = self.decoder.nll

    def check_length(self, length: int, argument: str) -> None:
        """Raise :class:`ArgumentError` about ``argument`` if the position part is not defined for ``length`` tokens."""
        position = self.parts["position"]
        limit = position.max_length if isinstance(position, Position) else None
        require(limit is None or length <= limit, argument, f"at most {limit}, the position's max_length", length)

    def check_train_length(self, length: int, argument: str) -> None:
        """Raise :class:`ArgumentError` about ``argument`` if the attention's ``train_length`` is not ``length``."""
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            decoder = Decoder(self.vocab_size, **{**self.parts, "n_layers": 1})
        attention: Attention = decoder.blocks[0].attention  # type: ignore[assignment]
        fixed = attention.train_length
        expected = f"{fixed}, the attention's train_length (model.attention.init_args.train_length)"
        require(fixed in (None, length), argument, expected, length)

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW with decay groups; warm-up and cosine over the whole run, stepped with the optimizer."""
        optimizer = self.make_optimizer()
        total = self.total_steps()
        schedule = warmup_cosine(total, self.warmup_steps, self.min_learning_rate_ratio)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def make_optimizer(self) -> torch.optim.AdamW:
        """AdamW over the network's parameters, at the peak rate."""
        return adamw(self.network, learning_rate=self.learning_rate, betas=self.betas, weight_decay=self.weight_decay)

    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        data = self.trainer.datamodule
        if not isinstance(data, TextDataModule):
            return int(self.trainer.estimated_stepping_batches)
        return -(-data.run_batches() // int(self.trainer.accumulate_grad_batches))

    @property
    def network(self) -> Decoder:
        """The decoder; built by :meth:`configure_model`."""
        if self.decoder is None:
            self.configure_model()
        assert self.decoder is not None
        return self.decoder

    # -- training -----------------------------------------------------------------------------------------------

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Make dropout a pure function of (seed, batch, rank), so that a resumed run draws the same masks, and tell
        the parts that change with training how many optimizer steps were taken.
        """
        entropy = np.random.SeedSequence([self.seed, batch_idx, self.global_rank])
        torch.manual_seed(int(entropy.generate_state(1, np.uint64)[0]) >> 1)
        for module in self.network.modules():
            if defines(module, Part.set_step):
                module.set_step(self.global_step)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        target = batch["input_ids"][:, 1:]
        weight = self.loss.row_weight(target.flatten())
        nll = self._nll(batch["input_ids"], row_weight=None if weight is None else weight.view_as(target))
        loss: Tensor = self.loss(nll.flatten(), target.flatten())
        figures = mean_over_processes(self._trainer, loss.detach(), nll.detach().mean())
        self.last_loss, self.last_cross_entropy = figures
        self.guard.check(float(self.last_cross_entropy), self.global_step + 1, self.network, batch)
        return loss

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as asked, keep the norm before clipping for the log, and stop on a norm that is not finite."""
        if gradient_clip_algorithm == "value" and gradient_clip_val is not None:
            self.clip_gradients(optimizer, gradient_clip_val, "value")
            norm = torch.nn.utils.get_total_norm([p.grad for p in self.parameters() if p.grad is not None])
        else:
            norm = torch.nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val or float("inf"))
        norm = full(norm)
        self.grad_norm = norm
        if getattr(self.trainer.precision_plugin, "scaler", None) is not None:
            return  # with float16 an overflow is part of finding the loss scale; the step is then left out
        check_gradients(float(norm), self.global_step + 1, self.network)

    # -- evaluation ---------------------------------------------------------------------------------------------

    def _evaluate(self, batch: Batch) -> None:
        scored, words, size = batch["scored"], batch["words"], batch["bytes"]
        self.perplexity.update(self._nll(batch["input_ids"]), scored, words, size, batch.get("document"))

    def health(self) -> dict[str, float]:
        """What the head says of its own state, such as how its codes are used, each name with ``head_`` before it."""
        return {f"head_{name}": float(figure) for name, figure in self.network.head.health().items()}

    @contextlib.contextmanager
    def debiased(self, log_weight: Tensor) -> Iterator[None]:
        """Inside, the network's head takes back the shift of a loss that weighed token t by w(t), log w (V)."""
        network = self.network
        head = network.head
        network.head = head.debias(log_weight)
        try:
            yield
        finally:
            network.head = head

    def on_validation_start(self) -> None:
        # the processes may have unlike numbers of batches, and so may not wait for each other in each
        self._scoring.enter_context(whole(self.network))

    def on_validation_epoch_start(self) -> None:
        self.perplexity.reset()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch)

    def on_validation_epoch_end(self) -> None:
        """Make the figure known to callbacks that watch one, such as Lightning's EarlyStopping."""
        figures = self.perplexity.compute()
        if figures["tokens"]:
            self.log("validation/cross_entropy", figures["cross_entropy"], logger=False)

    def on_validation_end(self) -> None:
        self._scoring.close()

    def on_test_epoch_start(self) -> None:
        self.perplexity.reset()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch)

    # -- checkpoints --------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["divergence_guard"] = self.guard.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.guard.load_state_dict(checkpoint["divergence_guard"])
