"""``croloss data inspect``: what was read, filtered and split."""

from __future__ import annotations

import json
from typing import Any

from croloss_serving.common.terminal import printable, printable_json
from lightning_croloss.cli.config.overlays import replaced_lists
from lightning_croloss.cli.data.help import DESCRIPTION
from lightning_croloss.cli.messages import say
from lightning_croloss.cli.parser import SectionParser
from lightning_croloss.common.text_table import aligned
from lightning_croloss.data import RetrievalDataModule
from lightning_croloss.data.report import first_of
from lightning_croloss.data.statistics import QUANTILES, describe

_NAMES = {"p10": "10 %", "p25": "25 %", "p75": "75 %", "p90": "90 %", "p99": "99 %"}


def main(arguments: list[str]) -> None:
    """Run ``croloss data`` with the arguments after it, the first of which is inspect."""
    parser = _parser()
    for argument in arguments[1:]:
        if argument.startswith(("--model", "--trainer")):
            raise ValueError(
                f"croloss data inspect looks at the data alone: leave out {argument.split('=')[0]}"
            )
    config = parser.parse_args(arguments[1:])
    for line in replaced_lists(arguments[1:]):
        if line.startswith("data."):
            say(line)
    described = describe(parser.instantiate_classes(config).data)
    if config.json:
        print(printable_json(json.dumps(described, indent=2, ensure_ascii=False)))
    else:
        print(printable(format_text(described), kept="\n"))


def _parser() -> SectionParser:
    parser = SectionParser(prog="croloss data inspect", description=DESCRIPTION, section="data")
    parser.add_argument("--config", "-c", action="config", help="Config file; later ones win.")
    parser.add_subclass_arguments(RetrievalDataModule, "data", required=True)
    parser.add_argument("--json", action="store_true", help="Print JSON.")
    return parser


def data_of(section: dict[str, Any]) -> RetrievalDataModule:
    """Build the data module that the section ``data`` of a config describes."""
    parser = _parser()
    built: RetrievalDataModule = parser.instantiate_classes(parser.parse_object({"data": section})).data
    return built


def format_text(described: dict[str, Any]) -> str:
    """Lay out what :func:`describe` returned, in aligned columns."""
    sections = [
        _preparation(described["preparation"], described["data"]),
        _interactions(described),
        _split(described["split"]),
        _features(described),
    ]
    return "\n\n".join(section for section in sections if section)


def _preparation(record: dict[str, Any] | None, name: str) -> str:
    if record is None:
        return f"data  {name}, which does not count what it filters"
    columns = ("interactions", "users", "items")
    lines = [["", *columns, ""], ["read", *(_number(record["read"][column]) for column in columns), ""]]
    left = record["read"]
    for step in record["steps"]:
        dropped = (step["after"][column] - step["before"][column] for column in columns)
        lines.append(["dropped", *map(_number, dropped), f"  {step['reason']}"])
        left = step["after"]
    lines.append(["left", *(_number(left[column]) for column in columns), ""])
    notes = [f"note: {note}" for note in record["notes"]]
    return "\n".join([f"data  {name}: {first_of(record['sources'])}", "", aligned(lines, "<>>><"), *notes])


def _interactions(described: dict[str, Any]) -> str:
    sizes, popularity = described["interactions"], described["popularity"]
    lines = [
        ["users", _number(sizes["users"])],
        ["items", _number(sizes["items"])],
        ["interactions", _number(sizes["interactions"])],
        ["density", _percent(sizes["density"])],
        ["repeats (user had the item before)", _percent(sizes["repeats"])],
        ["interactions of the top 1 % of the items", _percent(popularity["top_1_percent"])],
        ["interactions of the top 10 % of the items", _percent(popularity["top_10_percent"])],
        ["Gini of the items' popularity", f"{popularity['gini']:.3f}"],
        ["users whose history max_history cuts", _percent(described["users_beyond_max_history"])],
    ]
    if sizes["items_without_interactions"]:
        lines.append(["items without interactions", _number(sizes["items_without_interactions"])])
    if sizes["first_time"] is not None:
        lines += [["first time", str(sizes["first_time"])], ["last time", str(sizes["last_time"])]]
    lengths = described["events_per_user"]
    names = [*QUANTILES, "max"]
    quantiles = [
        ["events of a user", *(_NAMES.get(name, name) for name in names), "mean"],
        ["", *(_number(lengths[name]) for name in names), f"{lengths['mean']:.1f}"],
    ]
    return f"{aligned(lines, '<>')}\n\n{aligned(quantiles, '<' + '>' * (len(names) + 1))}"


def _split(split: dict[str, Any]) -> str:
    columns = ("rows", "targets", "users", "items", "unseen_users", "unseen_items", "targets_of_unseen_items")
    arguments = ", ".join(f"{name}={value!r}" for name, value in split["arguments"].items())
    lines = [["", *(column.replace("_", " ") for column in columns)]]
    lines += [
        [part, *(_number(numbers[column]) for column in columns)] for part, numbers in split["parts"].items()
    ]
    end = f"{_number(split['training_events'])} training events"
    if split["unused_events"]:
        end += f"; {_number(split['unused_events'])} events are in no part"
    return f"split  {split['name']}({arguments})\n\n{aligned(lines, '<' + '>' * len(columns))}\n{end}"


def _features(described: dict[str, Any]) -> str:
    lines = [
        [
            of,
            feature["name"],
            feature["kind"],
            _number(feature["size"]) if feature["size"] else "",
            _percent(feature["coverage"]),
        ]
        for of in ("item", "user")
        for feature in described[f"{of}_features"]
    ]
    return aligned([["of", "feature", "kind", "tokens", "coverage"], *lines], "<<<>>") if lines else ""


def _number(value: int) -> str:
    return f"{value:,}"


def _percent(share: float) -> str:
    """Write a share with three significant digits."""
    return f"{100 * share:.3g} %"
