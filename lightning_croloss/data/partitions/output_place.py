"""Where a folder of partitions may lie: not in what is read, nor in another such folder."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from croloss_serving.common.home_folder import expanded
from lightning_croloss.data.partitions.manifest import MANIFEST, part_name


def check_place(output: Path, interactions: str | Sequence[str], files: Sequence[Path]) -> None:
    """Refuse an output that whoever reads the interactions, or other partitions, would read, too.

    Args:
        output: the folder that is to be written.
        interactions: a file, a folder, a glob, or a list of these.
        files: the files that they name.

    Raises:
        ValueError: it lies in a folder that is read, is one of a file, or lies in a folder of partitions.
    """
    real = output.resolve()
    for given in [interactions] if isinstance(interactions, str) else interactions:
        name = expanded(given)
        if _is_named(name, real):
            # the next who reads the folder would have every event twice
            raise ValueError(
                f"the output {output} lies in {given}, whose tables are read: choose a folder beside it"
            )
    for file in files:
        if real in file.resolve().parents:
            raise ValueError(f"the output {output} is the folder of {file.name}: name another one")
    for above in real.parents:
        if (above / MANIFEST).is_file():
            raise ValueError(
                f"the output {output} lies in {above}, a folder of partitions: choose a folder beside it"
            )


def _is_named(given: Path, output: Path) -> bool:
    """Tell whether what a user names would name the partitions of an output as well."""
    if given.is_dir():
        return given.resolve() in output.parents
    fixed = [*given.parts]
    while fixed and glob.has_magic(str(Path(*fixed))):
        fixed.pop()
    pattern, base = given.parts[len(fixed) :], Path(*fixed).resolve()
    if not pattern or base not in output.parents:
        return False
    inside = [*output.relative_to(base).parts, part_name(0)]
    if "**" in pattern:
        return True
    # a folder that a pattern names is read with all that is in it
    return len(pattern) <= len(inside) and all(map(fnmatchcase, inside, pattern))
