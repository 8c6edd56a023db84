"""The benchmark of serving runs, in small."""

import json
import sys

import pytest

for package in ("onnxruntime", "onnxscript", "faiss"):
    pytest.importorskip(package, reason="needs the extra [export]")
from benchmarks.serve import __main__ as command  # noqa: E402
from benchmarks.serve import protocol  # noqa: E402
from tests.serving.cases import WrittenOnce  # noqa: E402


@pytest.mark.slow
def test_every_way_answers_every_request(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("lightning_croloss.serving.export.write_encoder", WrittenOnce())
    monkeypatch.setattr(sys, "argv", ["serve", "--quick", "--output", str(tmp_path)])
    command.main()
    rows = json.loads((tmp_path / "serve.json").read_text())["rows"]
    assert len(rows) == 2 * len(protocol.WAYS)
    for row in rows:
        assert 0.0 < row["p50_ms"] <= row["p95_ms"]
        if row["way"].startswith("exact"):
            assert row["recall"] == 1.0
        if row["way"] == "IVF, nprobe 1":
            assert row["recall"] < 0.9
    assert "HNSW, efSearch 256" in capsys.readouterr().out
    assert (tmp_path / "recall_against_latency.png").stat().st_size > 1000
