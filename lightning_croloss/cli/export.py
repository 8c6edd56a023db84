"""``croloss export``: a model as a folder that is served without torch."""

from __future__ import annotations

import argparse

from croloss_serving.common.home_folder import expanded
from croloss_serving.layout import FORMAT
from lightning_croloss.cli.plain_parser import PlainParser, add_allow_classes, output_path
from lightning_croloss.common.locks import claimed
from lightning_croloss.common.replaceable import check_folder

DESCRIPTION = (
    "Export a model for serving: its user encoder as ONNX, the vectors, tokens and titles of the items, and "
    "on request a faiss index. lightning_croloss.serving.Recommender serves the folder without torch."
)


def main(arguments: list[str]) -> None:
    """Run ``croloss export`` with the arguments after it."""
    given = _parser().parse_args(arguments)

    from lightning_croloss.cli.trust import trusted_by_user
    from lightning_croloss.pretrained import load_pretrained
    from lightning_croloss.serving.export import export_model

    output = expanded(given.output)
    check_folder(output, FORMAT, given.overwrite, "--output")
    with claimed(output):
        model = load_pretrained(given.model, allow=trusted_by_user(given.allow_classes))
        folder = export_model(
            model,
            output,
            index=given.index,
            overwrite=given.overwrite,
            exclude_history=given.exclude_history,
        )
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    for name, size in sizes.items():
        print(f"{size / 2**20:10.2f} MiB  {folder / name}")


def _parser() -> PlainParser:
    made = PlainParser(prog="croloss export", description=DESCRIPTION)
    made.add_argument(
        "--model", required=True, help="a zoo model, a folder, hf://owner/name, or the .ckpt file of a run"
    )
    made.add_argument("--output", required=True, type=output_path, help="the folder to write")
    made.add_argument("--index", help="flat (exact), ivf or hnsw (approximate); without: no index")
    made.add_argument(
        "--exclude-history",
        action=argparse.BooleanOptionalAction,
        help="whether the Recommender leaves out the items of the history (as the model does in evaluation)",
    )
    made.add_argument("--overwrite", action="store_true", help="replace an earlier export")
    add_allow_classes(made)
    return made
