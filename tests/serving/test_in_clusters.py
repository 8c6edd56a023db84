"""The recipes for Ray Data and Spark, on a local cluster: restarted after a kill, each user once.

They need no torch, and Ray a newer one than RecBole's pin allows, so CI runs them in an environment of their
own: ``pip install './serving[serve]' 'ray[data]' pyspark pytest``, then ``pytest --noconftest`` this file.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from croloss_serving import Recommender

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "recommend_in_ray.py"
EXPORT = ROOT / "tests/formats/version_1/exports/gru4rec"
#: The oldest Ray that the recipe is known to work with.
RAY = (2, 48)
PARTITIONS, USERS = 10, 1500

pytestmark = pytest.mark.slow


def version_of(package: str) -> tuple[int, ...]:
    """Return the first two numbers of a version; none if the package is not installed."""
    try:
        return tuple(map(int, metadata.version(package).split(".")[:2]))
    except metadata.PackageNotFoundError:
        return ()


def needs(package: str, oldest: tuple[int, ...]) -> None:
    found, asked = version_of(package), ".".join(map(str, oldest))
    if found < oldest:
        here = f"{package} {'.'.join(map(str, found))}" if found else "none"
        pytest.skip(f"needs {package} {asked} or newer, in an environment without RecBole; here is {here}")
    for name in ("onnxruntime", "pyarrow"):
        pytest.importorskip(name, reason="needs the extra [serve]")


def write_users(folder: Path) -> dict[str, list[str]]:
    """Write partitions; return the history of each user."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    folder.mkdir()
    histories = {}
    for number in range(PARTITIONS):
        own = {
            f"u{number}-{user}": [f"i{(user * step + number) % 32:02}" for step in range(1 + user % 5)]
            for user in range(USERS)
        }
        table = pa.table({"user_id": list(own), "history": list(own.values())})
        parquet.write_table(table, folder / f"part-{number}.parquet")
        histories |= own
    return histories


def expected(histories: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return each user's items, from one process."""
    found = Recommender.from_export(EXPORT, threads=1).recommend(list(histories.values()), 3)
    return {user: of_user.tokens for user, of_user in zip(histories, found, strict=True)}


def started(folder: Path, lists: str) -> subprocess.Popen[str]:
    words = ["--export", str(EXPORT), "--users", str(folder / "users"), "--lists", str(folder / lists)]
    # no shared modules of this environment, such as a checkout, for the workers
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, str(SCRIPT), *words, "--n=3", "--actors=2"]
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def outputs(folder: Path) -> list[Path]:
    return sorted(folder.glob("[!.]*.parquet"))


def test_killed_in_ray_and_finished_each_user_comes_once(tmp_path: Path) -> None:
    needs("ray", RAY)
    import pyarrow.parquet as parquet

    wanted = expected(write_users(tmp_path / "users"))
    driver = started(tmp_path, "lists")
    deadline = time.monotonic() + 120
    while len(outputs(tmp_path / "lists")) < 2 and time.monotonic() < deadline and driver.poll() is None:
        time.sleep(0.02)
    driver.send_signal(signal.SIGKILL)
    said, _ = driver.communicate(timeout=60)
    before = {path.name: path.stat().st_mtime_ns for path in outputs(tmp_path / "lists")}
    assert driver.returncode == -signal.SIGKILL, said
    assert 2 <= len(before) < PARTITIONS, said
    again = started(tmp_path, "lists")
    said, _ = again.communicate(timeout=180)
    assert again.returncode == 0, said
    done = re.search(r"done: (\d+) users", said)
    assert done is not None, said
    # workers die a moment after the driver, and may end a partition then
    assert 0 < int(done[1]) <= (PARTITIONS - len(before)) * USERS
    paths = outputs(tmp_path / "lists")
    assert len(paths) == PARTITIONS
    assert {path.name: path.stat().st_mtime_ns for path in paths if path.name in before} == before
    found: dict[str, list[str]] = {}
    for path in paths:
        rows = parquet.read_table(path).to_pydict()
        assert rows["rank"] == [1, 2, 3] * USERS
        for user, item in zip(rows["user"], rows["item"], strict=True):
            found.setdefault(user, []).append(item)
    assert found == wanted


def test_what_the_docs_say_of_spark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("pyspark", (3, 5))
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    import pyarrow.parquet as parquet

    text = (ROOT / "docs" / "serving.md").read_text("utf-8")
    (code,) = (
        block for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL) if "spark" in block
    )
    (tmp_path / "served").symlink_to(EXPORT)
    wanted = expected(write_users(tmp_path / "users"))
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    names: dict[str, Any] = {"__name__": "docs"}
    exec(code.replace("/data/", f"{tmp_path}/").replace("n=100", "n=3"), names)
    names["spark"].stop()
    rows = parquet.read_table(tmp_path / "lists").to_pydict()
    found: dict[str, dict[int, str]] = {}
    for user, rank, item in zip(rows["user_id"], rows["rank"], rows["item"], strict=True):
        assert rank not in found.setdefault(user, {}), "a user comes twice"
        found[user][rank] = item
    assert {user: [items[rank] for rank in sorted(items)] for user, items in found.items()} == wanted
