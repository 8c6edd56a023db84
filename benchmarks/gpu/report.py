"""The tables of the speed, from its rows."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.common.rows import Row, Settings
from benchmarks.common.tables import failed_runs, table
from benchmarks.gpu.protocol import RECALL_SIDES, SECTIONS, runs

MISSING = "–"
#: How the loss is computed: fused by kernels in Triton, fused portably, plainly, and that compiled.
SIDES = ("triton", "portable", "plain", "compiled")


def report(rows: dict[str, Row], failures: dict[str, Row], device: str) -> str:
    """Write the tables of one device from the rows of finished runs, and list what failed or is missing."""
    found = [row for row in rows.values() if row["settings"]["device"] == device]
    asked = [settings for section in SECTIONS for settings in runs(section, device)]
    ended = [row["settings"] for row in (*rows.values(), *failures.values())]
    left = sum(settings not in ended for settings in asked)
    parts = [
        *_section("The loss, forward and backward", _loss_table(found)),
        *_section("A training step", _step_table(found)),
        *_section("Exact Recall and lists", _recall_table(found)),
        *([f"{left} of {len(asked)} runs have no row: not asked for, or no time was left."] if left else []),
        *failed_runs({key: row for key, row in failures.items() if row["settings"]["device"] == device}),
    ]
    return "\n\n".join(parts)


def _section(title: str, text: str | None) -> list[str]:
    return [] if text is None else [f"## {title}", text]


def _loss_table(rows: list[Row]) -> str | None:
    names = ("loss", "B", "M", "D", "dtype")
    by_side = _by(rows, "loss", names, "side")
    lines = []
    for key, sides in by_side.items():
        if key[0] == "none":
            continue
        bare = by_side.get(("none", *key[1:]), {}).get("products")
        triton, portable, plain, compiled = (sides.get(side) for side in SIDES)
        lines.append(
            [
                *map(str, key),
                *(_number(row, "ms") for row in (triton, portable, plain, compiled, bare)),
                *(_ratio(row, triton, "ms") for row in (portable, plain, compiled)),
                _ratio(triton, bare, "ms"),
                *(_number(row, "MiB") for row in (triton, portable, plain)),
            ]
        )
    head = [
        *names,
        *(f"{side}, ms" for side in (*SIDES, "three products")),
        *(f"{side} : triton" for side in SIDES[1:]),
        "triton : products",
        *(f"{side}, MiB beyond" for side in SIDES[:3]),
    ]
    return table(head, lines) if lines else None


def _step_table(rows: list[Row]) -> str | None:
    names = ("model", "precision", "B", "items", "negatives")
    lines = []
    for key, kinds in _by(rows, "step", names, "profiled").items():
        plain, profiled = kinds.get(False), kinds.get(True)
        milliseconds = None if plain is None else plain["ms"]
        busy = None if profiled is None else profiled["busy ms"]
        known = milliseconds is not None and busy is not None
        idle = f"{max(0.0, 1 - busy / milliseconds):.0%}" if known else MISSING
        lines.append([*map(str, key), _number(plain, "ms"), _number(profiled, "busy ms"), idle])
    return table([*names, "step, ms", "of which the device works, ms", "idle"], lines) if lines else None


def _recall_table(rows: list[Row]) -> str | None:
    by_side = _by(rows, "recall", ("users", "M", "D"), "side")
    lines = []
    for key, sides in by_side.items():
        peer = sides.get("torch top-k")
        for side in RECALL_SIDES:
            if side in sides:
                row = sides[side]
                values = (_number(row, "s"), _ratio(peer, row, "s"), _number(row, "MiB"))
                lines.append([*map(str, key), side, *values, f"{row['recall']:.4f}"])
    head = ["users", "M", "D", "by", "s", "top-k : this", "MiB of a batch", "Recall@500"]
    return table(head, lines) if lines else None


def _by(
    rows: Iterable[Row], section: str, names: tuple[str, ...], inner: str
) -> dict[tuple[object, ...], dict[object, Row]]:
    """Group the rows of a section by some settings, and within a group by another."""
    groups: dict[tuple[object, ...], dict[object, Row]] = {}
    for row in rows:
        settings: Settings = row["settings"]
        if settings["section"] == section:
            groups.setdefault(tuple(settings[name] for name in names), {})[settings[inner]] = row
    return groups


def _number(row: Row | None, name: str) -> str:
    return MISSING if row is None or row[name] is None else f"{row[name]:,.3g}"


def _ratio(above: Row | None, below: Row | None, name: str) -> str:
    return MISSING if above is None or below is None else f"{above[name] / below[name]:.2f}"
