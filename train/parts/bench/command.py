"""``lmzoo bench``: our parts beside their baselines, in one process, interleaved, as medians of paired ratios."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from jsonargparse import ArgumentParser
from rich.console import Console
from rich.table import Table

from ....errors import ConfigError, nearest, require
from ...arguments import check_device, read_lengths
from ...runs.environment import environment
from ...storage import write_atomically
from . import attention, extrapolate, heads
from .pairs import Case, Result, run
from .plot import check_plot_file, write_costs_plot


def decoder(device: str) -> Case:
    """One training step (forward, backward, AdamW) of our decoder against transformers' Llama of the same sizes."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from ....layers import SwiGLU
    from ....models import Decoder
    from ...fit.optimization import adamw

    vocab, width, layers, n_heads, length, batch = 8192, 256, 6, 4, 256, 8
    ours = Decoder(vocab, width, layers, n_heads).to(device)
    llama = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocab,
            hidden_size=width,
            intermediate_size=SwiGLU(width).hidden,
            num_hidden_layers=layers,
            num_attention_heads=n_heads,
            max_position_embeddings=length,
            tie_word_embeddings=True,
            use_cache=False,
            attn_implementation="sdpa",
        )
    ).to(device)
    sizes = [sum(p.numel() for p in m.parameters()) for m in (ours, llama)]
    # the same sequences, the same number of predicted tokens (T - 1 of each row), the same optimizer
    ids = torch.randint(vocab, (batch, length), device=device)

    def step(model: torch.nn.Module, loss: Callable[[], torch.Tensor]) -> Callable[[], None]:
        optimizer = adamw(model, learning_rate=1e-3, betas=(0.9, 0.95), weight_decay=0.1)

        def train() -> None:
            loss().backward()
            optimizer.step()
            optimizer.zero_grad()

        return train

    return Case(
        f"training step: d {width}, {layers} layers, {n_heads} heads, T {length}, batch {batch}, V {vocab}, tied, "
        "SwiGLU",
        step(ours, lambda: ours.nll(ids).mean()),
        step(llama, lambda: llama(input_ids=ids, labels=ids).loss),
        note=f"parameters: ours {sizes[0]:,}, transformers' Llama {sizes[1]:,}; both with fused AdamW, eager",
    )


CASES: dict[str, Callable[[str], Case]] = {"decoder": decoder, **heads.CASES, **attention.CASES, **extrapolate.CASES}
BENCHMARKS: dict[str, Callable[[int, str], Result]] = {name: partial(run, name, case) for name, case in CASES.items()}


def main(arguments: list[str]) -> int:
    """Run the named benchmarks, or all, and print their table."""
    parser = ArgumentParser(
        prog="lmzoo bench",
        description="Time our parts against their baselines: one process, interleaved pairs, medians of paired ratios. "
        f"Benchmarks: {', '.join(BENCHMARKS)}.",
    )
    parser.add_argument("names", type=str, nargs="*", default=[], help="which benchmarks; all if none is named")
    parser.add_argument("--pairs", type=int, default=15, help="timed pairs of each; --plot takes at most 5 runs")
    parser.add_argument(
        "--device", type=str, default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda or cuda:N"
    )
    parser.add_argument("--output", type=str | None, default=None, help="also write the results to this JSON file")
    parser.add_argument(
        "--plot",
        type=str | None,
        default=None,
        help="measure time and memory of attention layers against the length instead (rotary softmax, complex, "
        "softplus, and its dense reference where it fits), write this PNG and the data beside it as .jsonl; "
        "benchmarks that are named run too",
    )
    parser.add_argument(
        "--lengths",
        type=str,
        default=",".join(map(str, attention.LENGTHS)),
        help="lengths of --plot, such as 256,512,1024",
    )
    a = parser.parse_args(arguments)
    require(a.pairs >= 1, "pairs", "1 or more", a.pairs)
    if torch.device(check_device(a.device)).index:
        torch.cuda.set_device(a.device)  # a step is over when the current GPU has nothing left to do
    lengths = read_lengths(a.lengths)
    require(min(lengths) >= 1, "lengths", "numbers of 1 or more", lengths)
    plot = None if a.plot is None else check_plot_file(a.plot)
    for name in a.names:
        if name not in BENCHMARKS:
            raise ConfigError(f"no benchmark {name!r}; nearest: {', '.join(nearest(name, BENCHMARKS))}", key="names")
    if plot is not None:
        data = write_costs_plot(plot, lengths, a.device, min(a.pairs, 5))
        Console(highlight=False).print(f"{plot}, from {data}", soft_wrap=True, markup=False)
    names = a.names or ([] if plot is not None else list(BENCHMARKS))
    results = [BENCHMARKS[name](a.pairs, a.device) for name in names]
    if results:
        show(results)
    if a.output:
        content = {"results": [asdict(r) for r in results], "environment": environment()}
        write_atomically(Path(a.output), json.dumps(content, indent=2) + "\n")
    return 0


def show(results: list[Result]) -> None:
    """Print the table: above 1.00x, ours is faster."""
    table = Table(title=f"speed against the baseline ({torch.get_num_threads()} threads, torch {torch.__version__})")
    for column in ("what", "ours", "baseline", "ratio", "quartiles", "pairs"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for r in results:
        factor = {"ms": 1e3, "MB": 1e-6}[r.unit]
        table.add_row(
            f"{r.what}\n[dim]{r.note}[/dim]",
            f"{r.ours * factor:.1f} {r.unit}",
            f"{r.baseline * factor:.1f} {r.unit}",
            f"[bold]{r.speedup:.2f}x[/bold]",
            f"{r.low:.2f} to {r.high:.2f}",
            str(r.pairs),
        )
    Console(highlight=False).print(table)
