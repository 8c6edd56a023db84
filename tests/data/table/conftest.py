import pytest

from lightning_croloss.data import TableDataModule
from tests.data.table.tables import EVENTS


@pytest.fixture
def make(tmp_path):
    """Make a data module from columns, as Parquet unless the name of the file says otherwise."""
    import polars as pl  # not above: some tests of this folder are skipped without it

    def build(columns=None, name="x.parquet", **arguments):
        frame = pl.DataFrame(EVENTS if columns is None else columns)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            frame.write_parquet(path)
        else:
            frame.write_csv(path, separator="," if path.suffix == ".csv" else "\t")
        source = path.parent if "/" in name else path
        return TableDataModule(str(source), **{"min_user_interactions": 1, **arguments})

    return build
