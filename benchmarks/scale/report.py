"""What was measured, as a text."""

from __future__ import annotations

from typing import Any

from benchmarks.scale.protocol import BATCH, DIM, EVALUATED, NEGATIVES


def written(row: dict[str, Any], facts: dict[str, Any]) -> str:
    """Write what was measured as a text."""
    lines = [
        f"{row['items']:,} items, {row['interactions']:,} interactions of {row['users']:,} users; "
        f"YouTubeDNN, D = {DIM}, batches of {BATCH} with {NEGATIVES} sampled negatives, {row['threads']} "
        "thread(s); "
        f"{'sparse gradients (LazyAdam)' if row['sparse'] else 'dense gradients (Adam)'}.",
        "",
        f"- from the Parquet file to the first batch: {row['prepare_seconds']:.1f} s",
        f"- a training step: {row['step_ms']:.1f} ms, {row['samples_per_second']:,.0f} samples a second",
        f"- ranking {EVALUATED:,} users exactly: {row['evaluation_seconds']:.1f} s",
        f"- largest resident memory: {row['peak_gib']:.2f} GiB (imports {row['imports_gib']:.2f}, prepared "
        f"{row['prepared_gib']:.2f}, trained {row['trained_gib']:.2f})",
        *(f"- test {name}: {row[name]:.3f}" for name in row if name.startswith("recall")),
    ]
    described = ", ".join(f"{key} {value}" for key, value in facts.items())
    return "# A million items\n\nWritten by `python -m benchmarks.scale`.\n\n" + "\n".join(
        [*lines, "", f"{described}.", ""]
    )
