"""What a model card says of the data sets of the zoo."""

from __future__ import annotations

from typing import NamedTuple


class DatasetCard(NamedTuple):
    """What there is to know about a data set.

    Attributes:
        title: its name.
        about: what it holds.
        source: where the public gets it, and how it becomes what the config reads.
        licence: what one may do with it.
        may_show_titles: whether titles of its items may travel with a model.
        limits: what a model of it is not good for.
        may_hold_events: whether its events may travel with a model, as the edges of a graph.
    """

    title: str
    about: str
    source: str
    licence: str
    may_show_titles: bool
    limits: str
    may_hold_events: bool = False


def _of_s3_rec(title: str, about: str, file: str, table: str) -> DatasetCard:
    """Return the card of a file of reviews as prepared for S3-Rec."""
    return DatasetCard(
        title,
        f"Reviews of {about} in the Amazon review data (He and McAuley, 2016), of users and items with five "
        "or more, as prepared for S3-Rec (Zhou et al., CIKM 2020): the order of each user's events, without "
        "times.",
        f"https://github.com/aHuiWang/CIKM2020-S3Rec (data/{file}, a line `user item item …` for each user; "
        f"the reviews: https://jmcauley.ucsd.edu/data/amazon/). The config reads it as `{table}`, columns "
        "`user_id`, `item_id`, and `timestamp`, the index of the event in its user's sequence.",
        "The reviews are offered for research; neither source states a licence of the data. This folder "
        "holds none of the events, only the integer ids of the items and how often each occurs.",
        True,
        "The ids are those of the prepared file and lead to no product. For comparisons with figures that "
        "are published for the same file, and as a start for experiments on it.",
    )


DATASETS = {
    "ml-100k": DatasetCard(
        "MovieLens 100K",
        "100,000 ratings of 1,682 films by 943 users of movielens.org, 1997 and 1998 (Harper and Konstan, "
        '"The MovieLens Datasets", ACM TiiS 2015). Every rating counts as an event, whatever its value.',
        "https://grouplens.org/datasets/movielens/100k/; a copy in RecBole's format comes with the package "
        "`recbole` (`pip install 'lightning-croloss[recbole]'`), and the config reads that copy.",
        "For research; no commercial use and no redistribution without permission of GroupLens. So this "
        "folder holds no ratings and no titles: titles are read from the installed copy, if there is one.",
        False,
        "The films end in 1998 and the users are few: for demonstrations, tests and teaching.",
    ),
    "video": DatasetCard(
        "Amazon Video Games",
        "Reviews of video games in the Amazon review data (He and McAuley, 2016), as prepared for SASRec "
        "(Kang and McAuley, ICDM 2018): the order of each user's events, without times.",
        "https://github.com/pmixer/SASRec.pytorch (the file of Video games, a line `user item` for each "
        "event; the reviews: https://jmcauley.ucsd.edu/data/amazon/). The config reads it as "
        "`video.parquet`, columns `user_id`, `item_id`, and `timestamp`, the index of the event in its "
        "user's sequence.",
        "The reviews are offered for research; neither source states a licence of the data. This folder "
        "holds none of the events, only the integer ids of the items and how often each occurs.",
        True,
        "The ids are those of the prepared file and lead to no product. For comparisons and as a start for "
        "experiments on the same file.",
    ),
    "diginetica": DatasetCard(
        "Diginetica",
        "Sessions of item views in an online shop, from CIKM Cup 2016 track 2, as prepared for GCE-GNN (Wang "
        "et al., SIGIR 2020). A user is a session.",
        "https://github.com/CCIIPLab/GCE-GNN (datasets/diginetica; the cup: "
        "https://competitions.codalab.org/competitions/11161). The config reads it as `diginetica.parquet`, "
        "columns `user_id` (the session), `item_id`, and `timestamp`, the index of the event in its session.",
        "Released for the cup, for research; the sources state no other licence. This folder holds none of "
        "the events, only the integer ids of the items and how often each occurs.",
        True,
        "The ids are those of the prepared file and lead to no product. Sessions are short and anonymous: "
        "the models know nothing of a visitor's earlier sessions.",
    ),
    "beauty": _of_s3_rec("Amazon Beauty", "beauty products", "Beauty.txt", "beauty.parquet"),
    "toys": _of_s3_rec("Amazon Toys and Games", "toys and games", "Toys_and_Games.txt", "toys.parquet"),
}

#: Of data that is not in the table.
UNKNOWN = DatasetCard(
    "data of the author's own",
    "Not described: see the section `data` of config.yaml.",
    "not stated",
    "not stated",
    True,
    "Judge it on your own data before you use it.",
    may_hold_events=True,
)


def dataset_of(name: str) -> DatasetCard:
    """Return the card of the data set that a model's name begins with."""
    return DATASETS.get(name.partition("/")[0], UNKNOWN)
