"""What ``croloss data`` is for, said before anything heavy is imported."""

DESCRIPTION = (
    "Print what is read, filtered and split: users, items, interactions, density, history lengths, "
    "popularity, the parts, and what was dropped and why. Takes any config of 'croloss fit' and looks at "
    "its data alone."
)
USAGE = (
    "croloss data inspect --config FILE [--data.name=value ...] [--json]\n"
    "       croloss data partition --interactions TABLE --output FOLDER [--partitions NUMBER]"
)
EPILOG = (
    "Fields of the data can be overridden: --data.max_history=20. 'croloss data inspect "
    "--data.help=TableDataModule' explains them. 'croloss data partition' divides a table by user, so that "
    "each process of a training reads its own part: 'croloss data partition --help' explains it."
)

__all__ = ["DESCRIPTION", "EPILOG", "USAGE"]
