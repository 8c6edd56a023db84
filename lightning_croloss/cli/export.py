"""``croloss export``: a model as a folder that is served without torch."""

from __future__ import annotations

import argparse
from pathlib import Path

DESCRIPTION = (
    "Export a model for serving: its user encoder as ONNX, the vectors, tokens and titles of the items, and "
    "on request a faiss index. lightning_croloss.serving.Recommender serves the folder without torch."
)


def main(arguments: list[str]) -> None:
    """Run ``croloss export`` with the arguments after it."""
    parser = argparse.ArgumentParser(prog="croloss export", description=DESCRIPTION)
    parser.add_argument(
        "--model", required=True, help="a zoo model, a folder, hf://owner/name, or the .ckpt file of a run"
    )
    parser.add_argument("--output", required=True, type=Path, help="the folder to write")
    parser.add_argument("--index", help="flat (exact), ivf or hnsw (approximate); without: no index")
    parser.add_argument(
        "--exclude-history",
        action=argparse.BooleanOptionalAction,
        help="whether the Recommender leaves out the items of the history (as the model does in evaluation)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the folder if it exists")
    given = parser.parse_args(arguments)

    from lightning_croloss.pretrained import load_pretrained
    from lightning_croloss.serving.export import export_model

    if given.output.exists() and not given.overwrite:
        raise FileExistsError(f"--output {given.output} exists: choose another folder, or give --overwrite")
    model = load_pretrained(given.model)
    folder = export_model(
        model,
        given.output,
        index=given.index,
        overwrite=given.overwrite,
        exclude_history=given.exclude_history,
    )
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    for name, size in sizes.items():
        print(f"{size / 2**20:10.2f} MiB  {folder / name}")
