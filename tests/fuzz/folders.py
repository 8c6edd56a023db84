"""Folders that were tampered with by somebody who signs them again."""

import hashlib
import json
import os
import shutil
import signal
from contextlib import contextmanager
from pathlib import Path

#: Folders of the first format version: small, and there for good.
FORMATS = Path(__file__).parents[1] / "formats" / "version_1"


def copied(source, target):
    """Return a copy of a folder, in place of what an earlier case left."""
    shutil.rmtree(target, ignore_errors=True)
    return Path(shutil.copytree(source, target))


def manifest_of(folder):
    return json.loads((folder / "manifest.json").read_text("utf-8"))


def sign(folder, manifest):
    """Write a manifest with the checksum of its own content."""
    rest = {name: value for name, value in manifest.items() if name != "sha256"}
    rest["sha256"] = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(rest), "utf-8")


def vouch(folder, name, content=None, **changes):
    """Put other content into a file of a folder, and sign the folder again."""
    if content is not None:
        (folder / name).write_bytes(content)
    manifest = manifest_of(folder)
    given = (folder / name).read_bytes()
    manifest["files"][name] = {"bytes": len(given), "sha256": hashlib.sha256(given).hexdigest()}
    sign(folder, {**manifest, **changes})


@contextmanager
def soon(seconds=20):
    """Fail instead of waiting for ever, as on a pipe that nobody writes to."""

    def stop(*_):
        raise AssertionError(f"not done after {seconds} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def make_pipe(path):
    path.unlink()
    os.mkfifo(path)
