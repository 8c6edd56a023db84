"""Processes below a process are found, with what they use."""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.common.process_tree import children_of, memory_mib, processor_seconds


def test_children_of_children_are_found_and_measured() -> None:
    inner = "import sys; x = bytearray(b'1') * 2**25; print('ready', flush=True); sys.stdin.read()"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", outer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        (child,) = children_of(process.pid)
        assert {process.pid, child} <= set(children_of(os.getpid()))
        assert memory_mib(child) > 32
        assert processor_seconds(child) > 0
        process.communicate("")
    assert (children_of(child), memory_mib(child), processor_seconds(child)) == ([], 0.0, 0.0)
