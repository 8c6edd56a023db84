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


def users_written(row: dict[str, Any], facts: dict[str, Any]) -> str:
    """Write what was measured of recommending by partitions in Ray."""
    whole, killed, finished = (row[name] for name in ("whole", "killed", "finished"))
    speed = row["users"] / whole["work_seconds"]
    computed = sum(whole["actor_seconds"])
    lines = [
        f"{row['users']:,} users in {row['partitions']} partitions, {row['n']} of {row['items']:,} items "
        f"each; {row['actors']} actors of one core, exact search, lists of "
        f"{row['lists_mib']:,.0f} MiB in all.",
        "",
        f"- nobody killed: {whole['recommended']:,} users in {whole['work_seconds']:.0f} s, {speed:,.0f} a "
        f"second; Ray's start and end {whole['seconds'] - whole['work_seconds']:.0f} s more. The machine "
        f"did other work beside: the actors computed for {computed:.0f} s, {row['users'] / computed:,.0f} "
        "users a second of a core",
        f"- memory: an actor {max(whole['actor_mib'], finished['actor_mib']):,} MiB at most (the export is "
        f"{row['export_mib']:.0f}), all processes of Ray together {whole['memory_mib']:,.0f} MiB",
        f"- its driver killed after {killed['seconds']:.0f} s: {killed['complete']} partitions complete, "
        f"{killed['left_half_written']} half-written under names that are passed over",
        f"- started again, with an actor killed when {finished['actor_killed_at']} partitions were complete: "
        f"{finished['work_seconds']:.0f} s more",
        f"- users missing: {row['missing']}; users that come twice: {row['twice']}; files that differ from "
        f"those of the run that nobody killed: {row['differing_files']}",
    ]
    described = ", ".join(f"{key} {value}" for key, value in facts.items())
    return "# A million users in Ray\n\nWritten by `python -m benchmarks.scale.ray_users`.\n\n" + "\n".join(
        [*lines, "", f"{described}.", ""]
    )
