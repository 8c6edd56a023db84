"""Each example runs as a script, and learns."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
#: script: the quantity that falls while it trains, and the Recall of held-out pairs to reach
LEARNS = {
    "plain_pytorch.py": ("loss", 0.45),
    "own_lightning_module.py": ("soft rank", 0.4),
    "query_document_encoders.py": ("loss", 0.6),
}
#: Those that need an environment of their own, and where they are tested.
ELSEWHERE = {
    "recommend_in_ray.py": "tests/serving/test_in_clusters.py",
    "torchrec_tables.py": "tests/test_torchrec_tables.py",
}


@pytest.mark.parametrize("script", LEARNS)
@pytest.mark.slow
def test_example_learns(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    falls, reached = LEARNS[script]
    monkeypatch.chdir(tmp_path)
    # in this process, which has imported torch and Lightning already
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    printed = capsys.readouterr().out
    recall = dict(re.findall(r"^(before|after): recall@\d+ ([\d.]+)$", printed, flags=re.MULTILINE))
    values = [float(value) for value in re.findall(rf"\b{falls} ([\d.]+)", printed)]
    assert float(recall["before"]) < 0.1
    assert float(recall["after"]) > reached
    assert len(values) >= 4
    assert values[-1] < 0.8 * values[0]
    assert not list(tmp_path.iterdir()), "an example leaves files behind"


def test_every_example_is_tested_and_in_the_table() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py")}
    assert scripts == LEARNS.keys() | ELSEWHERE.keys()
    for script, test in ELSEWHERE.items():
        assert script in (EXAMPLES.parent / test).read_text()
    assert (
        set(re.findall(r"^\| `(\w+\.py)`", (EXAMPLES / "README.md").read_text(), flags=re.MULTILINE))
        == scripts
    )
