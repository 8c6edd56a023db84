"""``croloss gather``: a checkpoint in shards as one ordinary file."""

from __future__ import annotations

from pathlib import Path

from croloss_serving.common.home_folder import expanded
from lightning_croloss.cli.plain_parser import PlainParser, output_path
from lightning_croloss.common.files import output_file

DESCRIPTION = (
    "Write the model of a checkpoint in shards, the folder that trainer.strategy croloss_sharded makes, as "
    "one ordinary checkpoint, to be loaded, exported or published. It holds the weights and what the model "
    "knows of its data; to go on with the training, give fit --ckpt_path the folder itself. The weights are "
    "in memory once, whole, and nothing of the optimizer."
)
#: What names of checkpoints end in, by which they are known.
EXTENSION = ".ckpt"


def main(arguments: list[str]) -> None:
    """Run ``croloss gather`` with the arguments after it."""
    given = _parser().parse_args(arguments)
    output = expanded(given.output)
    if output.suffix != EXTENSION:
        raise ValueError(f"--output {given.output} must end in {EXTENSION}, as the name of a checkpoint does")

    from lightning_croloss.models import gather_checkpoint

    with output_file(output, given.overwrite, "--output"):
        gather_checkpoint(expanded(given.checkpoint), output)
    print(f"{output.stat().st_size / 2**20:10.2f} MiB  {output}")


def _parser() -> PlainParser:
    made = PlainParser(prog="croloss gather", description=DESCRIPTION)
    add = made.add_argument
    add("--checkpoint", required=True, type=Path, help="the folder, such as runs/.../checkpoints/last.ckpt")
    add("--output", required=True, type=output_path, help="the .ckpt file to write")
    add("--overwrite", action="store_true", help="replace the output if it exists")
    return made
