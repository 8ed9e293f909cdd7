"""One of our heads and one of our losses under transformers' Trainer, on a GPT-2.

The model keeps everything else: Trainer saves it, and generate() works, because a head called with hidden states gives
logits. Only the training loss goes another way: head.nll(hidden, target) gives the negative log-likelihood of each
target, and logits of all N tokens over all V words are never made. Run: python notebooks/heads_in_trainer.py
"""

import tempfile

import torch
from lmzoo.layers import CorpusStatistics, PowerLawDecay, VQLogitsHead
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

VOCABULARY, WIDTH = 1000, 32


class HeadTrainer(Trainer):
    """Trainer for a model whose lm_head is a head of lmzoo, under a loss of lmzoo."""

    def __init__(self, *arguments, loss, **keywords):
        super().__init__(*arguments, **keywords)
        self.loss = loss

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The loss in training; in evaluation the plain mean, which perplexity is made of."""
        labels = inputs.pop("labels")
        # Hidden states of every token, but logits of the last one alone. The call is the model's own, so that
        # wrappers such as DistributedDataParallel see it.
        output = model(**inputs, output_hidden_states=True, logits_to_keep=1)
        hidden, target = output.hidden_states[-1][:, :-1], labels[:, 1:]
        kept = target != -100
        nll = self.accelerator.unwrap_model(model).lm_head.nll(hidden[kept], target[kept])
        loss = self.loss(nll, target[kept]) if model.training else nll.mean()
        if num_items_in_batch is not None:
            # Gradients of several batches, and of all devices, are to be added up to those of one mean over them all.
            devices = self.accelerator.num_processes if self.args.average_tokens_across_devices else 1
            loss = loss * (nll.numel() / num_items_in_batch * devices)
        return (loss, output) if return_outputs else loss


def main():
    """Train for a moment; returns the evaluation loss before and after."""
    torch.manual_seed(0)
    # Made-up rows: every other word follows from the one before, and words are as rare as Zipf has it.
    frequency = 1.0 / torch.arange(1, VOCABULARY + 1)
    ids = torch.multinomial(frequency, 256 * 24, replacement=True).view(256, 24)
    ids[:, 1::2] = (ids[:, 0::2] * 7 + 1) % VOCABULARY
    data = [{"input_ids": row, "labels": row} for row in ids]
    counts = torch.bincount(ids[:, 1:].flatten(), minlength=VOCABULARY)

    sizes = {"n_embd": WIDTH, "n_layer": 1, "n_head": 2, "n_positions": 64}
    # Untied: Hugging Face would put the embedding where the head has weights of its own.
    model = GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, tie_word_embeddings=False, **sizes))
    model.lm_head = VQLogitsHead(WIDTH, VOCABULARY, codebook_size=128, within_code="bias")
    # What lmzoo fit does by itself: codes by frequency need to know how frequent the tokens are.
    model.lm_head.use_corpus(CorpusStatistics(counts))

    with tempfile.TemporaryDirectory() as folder:
        batches = {"per_device_train_batch_size": 16, "gradient_accumulation_steps": 2, "num_train_epochs": 3}
        settings = TrainingArguments(
            folder, learning_rate=0.01, prediction_loss_only=True, report_to="none", save_strategy="no", **batches
        )
        trainer = HeadTrainer(model, settings, train_dataset=data, eval_dataset=data[:64], loss=PowerLawDecay(counts))
        before = trainer.evaluate()["eval_loss"]
        trainer.train()
        after = trainer.evaluate()["eval_loss"]
    print(f"nats a token: {before:.3f} before, {after:.3f} after")
    continued = model.eval().generate(ids[:1, :5].to(model.device), max_new_tokens=1, do_sample=False)
    print(f"after {ids[0, :5].tolist()} comes {int(continued[0, -1])}; it was {int(ids[0, 5])}")
    return before, after


if __name__ == "__main__":
    main()
