"""One of our heads and one of our losses in a training loop of your own, on a Llama without its head.

A head takes hidden states (N, d) and targets (N) and gives each target's negative log-likelihood (N); a loss takes
these and the targets and gives a number. Neither knows the model. Run: python notebooks/heads_in_a_loop.py
"""

import torch
from lmzoo.layers import AdaptiveSoftmaxHead, CorpusStatistics, Focal
from transformers import LlamaConfig, LlamaModel

VOCABULARY, WIDTH = 1000, 32


def main(head_class=AdaptiveSoftmaxHead, loss=None, steps=60, **head_arguments):
    """Train for a moment; returns the mean nll, which is what perplexity is made of, of the first and the last step."""
    torch.manual_seed(0)
    # Made-up rows: every other word follows from the one before, and words are as rare as Zipf has it.
    frequency = 1.0 / torch.arange(1, VOCABULARY + 1)
    data = torch.multinomial(frequency, 256 * 24, replacement=True).view(256, 24)
    data[:, 1::2] = (data[:, 0::2] * 7 + 1) % VOCABULARY

    sizes = {"hidden_size": WIDTH, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    trunk = LlamaModel(LlamaConfig(vocab_size=VOCABULARY, **sizes))
    head = head_class(WIDTH, VOCABULARY, **head_arguments)
    loss = Focal(gamma=1.0) if loss is None else loss

    # Parts that ask for the training data's statistics have a method use_corpus: here the head, which sorts the tokens
    # into clusters by how frequent they are. PowerLawDecay has one too, if it was not given counts.
    statistics = CorpusStatistics(torch.bincount(data[:, 1:].flatten(), minlength=VOCABULARY))
    for part in (head, loss):
        if hasattr(part, "use_corpus"):
            part.use_corpus(statistics)

    optimizer = torch.optim.AdamW([*trunk.parameters(), *head.parameters()], lr=0.01)
    course = []
    for step in range(steps):
        rows = data[torch.arange(step * 32, step * 32 + 32) % len(data)]
        hidden = trunk(rows[:, :-1]).last_hidden_state.flatten(0, 1)
        target = rows[:, 1:].flatten()
        # Padding would be left out here, of both: hidden[kept], target[kept].
        nll = head.nll(hidden, target)
        optimizer.zero_grad()
        loss(nll, target).backward()
        optimizer.step()
        course.append(nll.detach().mean().item())

    # Called with hidden states the head gives log-probabilities or logits, of the tokens that are wanted and no others.
    with torch.no_grad():
        likeliest = head(trunk(data[:1, :5]).last_hidden_state[:, -1]).argmax(-1)
    print(f"nats a token: {course[0]:.3f} in the first step, {course[-1]:.3f} in the last")
    print(f"after {data[0, :5].tolist()} comes {likeliest.item()}; it was {data[0, 5].item()}")
    return course[0], course[-1]


if __name__ == "__main__":
    main()
