"""``lmzoo bench``: our parts beside their baselines, in one process, interleaved, as medians of paired ratios."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from jsonargparse import ArgumentParser
from rich.console import Console
from rich.table import Table

from ....errors import ConfigError, nearest, require
from ...arguments import check_device, read_lengths
from ...runs.environment import environment
from ...storage import write_atomically
from .attention import LENGTHS, bench_softplus, bench_softplus_memory, bench_softplus_reference
from .extrapolate import (
    bench_extrapolate,
    bench_extrapolate_fixed,
    bench_extrapolate_large,
    bench_extrapolate_memory,
    bench_extrapolate_sliding,
)
from .heads import (
    bench_head,
    bench_head_large,
    bench_head_memory,
    bench_head_weighted,
    bench_vq,
    bench_vq_classes,
    bench_vq_logits,
    bench_vq_logits_batch,
)
from .pairs import Result, compare_steps
from .plot import check_plot_file, write_costs_plot


def bench_decoder(pairs: int, device: str) -> Result:
    """One training step (forward, backward, AdamW) of our decoder against transformers' Llama of the same sizes."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from ....layers import SwiGLU
    from ....models import Decoder
    from ...fit.optimization import adamw

    vocab, width, layers, heads, length, batch = 8192, 256, 6, 4, 256, 8
    torch.manual_seed(0)
    decoder = Decoder(vocab, width, layers, heads).to(device)
    hidden = SwiGLU(width).hidden
    llama = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocab,
            hidden_size=width,
            intermediate_size=hidden,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            max_position_embeddings=length,
            tie_word_embeddings=True,
            use_cache=False,
            attn_implementation="sdpa",
        )
    ).to(device)
    sizes = [sum(p.numel() for p in m.parameters()) for m in (decoder, llama)]
    # the same sequences, the same number of predicted tokens (T - 1 of each row), the same optimizer
    ids = torch.randint(vocab, (batch, length), device=device)
    optimizers = [adamw(m, learning_rate=1e-3, betas=(0.9, 0.95), weight_decay=0.1) for m in (decoder, llama)]

    def ours() -> None:
        decoder.nll(ids).mean().backward()
        optimizers[0].step()
        optimizers[0].zero_grad()

    def theirs() -> None:
        llama(input_ids=ids, labels=ids).loss.backward()
        optimizers[1].step()
        optimizers[1].zero_grad()

    what = (
        f"training step: d {width}, {layers} layers, {heads} heads, T {length}, batch {batch}, V {vocab}, tied, SwiGLU"
    )
    note = f"parameters: ours {sizes[0]:,}, transformers' Llama {sizes[1]:,}; both with fused AdamW, eager"
    return compare_steps("decoder", what, ours, theirs, pairs=pairs, note=note)


def bench_complex(pairs: int, device: str) -> Result:
    """One ComplexAttention layer, forward and backward, against rotary SoftmaxAttention of the same sizes."""
    from ....layers import ComplexAttention, SoftmaxAttention

    batch, length, width, heads = 4, 512, 512, 8
    torch.manual_seed(0)
    layers = [ComplexAttention(width, heads).to(device), SoftmaxAttention(width, heads).to(device)]
    x = torch.randn(batch, length, width, device=device, requires_grad=True)
    weight = torch.randn_like(x)

    def step(layer: torch.nn.Module) -> None:
        layer(x).backward(weight)

    what = f"ComplexAttention, forward + backward: B {batch}, T {length}, d {width}, {heads} heads"
    note = "baseline: SoftmaxAttention with Rotary; delta drawn from Normal(0, 1/sqrt(D))"
    return compare_steps("complex", what, lambda: step(layers[0]), lambda: step(layers[1]), pairs=pairs, note=note)


BENCHMARKS: dict[str, Callable[[int, str], Result]] = {
    "decoder": bench_decoder,
    "head": bench_head,
    "head-large": bench_head_large,
    "head-weighted": bench_head_weighted,
    "head-memory": bench_head_memory,
    "vq": bench_vq,
    "vq-classes": bench_vq_classes,
    "vq-logits-1": bench_vq_logits,
    "vq-logits-16": bench_vq_logits_batch,
    "complex": bench_complex,
    "softplus": bench_softplus,
    "softplus-reference": bench_softplus_reference,
    "softplus-memory": bench_softplus_memory,
    "extrapolate": bench_extrapolate,
    "extrapolate-large": bench_extrapolate_large,
    "extrapolate-sliding": bench_extrapolate_sliding,
    "extrapolate-fixed": bench_extrapolate_fixed,
    "extrapolate-memory": bench_extrapolate_memory,
}


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
        "--lengths", type=str, default=",".join(map(str, LENGTHS)), help="lengths of --plot, such as 256,512,1024"
    )
    a = parser.parse_args(arguments)
    require(a.pairs >= 1, "pairs", "1 or more", a.pairs)
    check_device(a.device)
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
    console = Console(highlight=False)
    table = Table(title=f"speed against the baseline ({torch.get_num_threads()} threads, torch {torch.__version__})")
    for column in ("what", "ours", "baseline", "ratio", "quartiles", "pairs"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for r in results:
        table.add_row(
            f"{r.what}\n[dim]{r.note}[/dim]",
            _amount(r.ours, r.unit),
            _amount(r.baseline, r.unit),
            f"[bold]{r.speedup:.2f}x[/bold]",
            f"{r.low:.2f} to {r.high:.2f}",
            str(r.pairs),
        )
    console.print(table)


def _amount(value: float, unit: str) -> str:
    return f"{value * {'ms': 1e3, 'MB': 1e-6}[unit]:.1f} {unit}"
