"""Recording: what each step of a preparation leaves, as the report of one table counts it."""

from __future__ import annotations

from dataclasses import replace

from lightning_croloss.data.report import Counts, PreparationReport
from lightning_croloss.data.table.filters import Events
from lightning_croloss.data.table.reading import Table, describe_comments
from lightning_croloss.data.table.spec import TableSpec


class Recording:
    """Is told of each step, and makes the report.

    Args:
        spec: which columns hold users and items.
    """

    def __init__(self, spec: TableSpec) -> None:
        self.spec = spec
        self._report: PreparationReport | None = None

    @property
    def report(self) -> PreparationReport:
        """The report so far."""
        assert self._report is not None, "the table was read"
        return self._report

    def begin(self, table: Table) -> None:
        """Take note of what was read, and of what reading left out."""
        left_out, counts = table.left_out, self._counts(table)
        counts = replace(counts, interactions=counts.interactions + left_out.blank)
        read = replace(counts, interactions=counts.interactions + left_out.ragged)
        self._report = PreparationReport([file.path.name for file in table.files], read)
        if self.spec.ragged == "drop" and table.files[0].is_text:
            self._report.add("ragged", "lines of another number of fields than the header", counts)
        if left_out.comments:
            self._report.notes.append(f"{table.name}: {describe_comments(left_out)}")

    def rows(self, name: str, reason: str, table: Table) -> None:
        """Take note of a step that has left these rows."""
        self.report.add(name, reason, self._counts(table))

    def events(self, name: str, reason: str, events: Events) -> None:
        """Take note of a step that has left these events."""
        self.report.add(name, reason, events.counts)

    def _counts(self, table: Table) -> Counts:
        columns = (
            table.frame[column].drop_nulls() for column in (self.spec.user_column, self.spec.item_column)
        )
        return Counts(table.frame.height, *(column.n_unique() for column in columns))


__all__ = ["Recording"]
