"""An environment with what serving needs and nothing else: no torch, no lightning, no lightning_croloss."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

import croloss_serving


def make_environment(folder: Path, *distributions: str) -> Path:
    """Link what serving needs into a folder to import from: its package, and others with all they need.

    Args:
        folder: the folder.
        distributions: names of installed distributions.

    Returns:
        The folder.
    """
    folder.mkdir()
    (folder / "croloss_serving").symlink_to(Path(croloss_serving.__file__).parent)
    waiting, done = [*distributions], set()
    while waiting:
        name = waiting.pop()
        if name in done:
            continue
        done.add(name)
        installed = distribution(name)
        for entry in {file.parts[0] for file in installed.files or ()} - {"..", "__pycache__"}:
            link = folder / entry
            if not link.exists():
                link.symlink_to(Path(str(installed.locate_file(entry))))
        for text in installed.requires or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                waiting.append(needed.name)
    return folder


def run_in(environment: Path, code: str) -> str:
    """Run code where only the standard library and an environment can be imported, and return its output."""
    start = f"import sys; sys.path.insert(0, {str(environment)!r})\n"
    # isolated from the variables and the packages of the interpreter that runs the tests
    command = [sys.executable, "-I", "-S", "-c", start + code]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
