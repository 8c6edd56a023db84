"""The models of the zoo, and how each is made: ``croloss zoo build --all``."""

from __future__ import annotations

from typing import NamedTuple


class Recipe(NamedTuple):
    """One model of the zoo.

    Attributes:
        name: ``<dataset>/<model>``.
        config: the config file, from the root of the repository.
        options: further options of ``croloss fit``.
        dtype: how the weights are stored if Recall stays, else they are stored as float32.
    """

    name: str
    config: str
    options: tuple[str, ...] = ()
    dtype: str = "float32"


def _plain(dataset: str, dtype: str, *models: str) -> list[Recipe]:
    names = [f"{dataset}/{model}" for model in models]
    return [Recipe(name, f"configs/{name}.yaml", dtype=dtype) for name in names]


#: The loss that they were trained with, from before their configs told it N alone.
OF_DIGINETICA = ("--model.init_args.loss.init_args={kernel: sigmoid, temperature: 0.07}",)

RECIPES = [
    Recipe("ml-100k/youtube_dnn", "configs/ml-100k/youtube_dnn_told_n.yaml"),
    *_plain("ml-100k", "float32", "mind", "gru4rec", "comirec_sa"),
    # in half the space, since all of ml-100k travels in the wheel
    *_plain("ml-100k", "float16", "sasrec", "comirec_dr", "matrix_factorization"),
    *_plain("ml-100k", "float16", "esasrec", "hstu", "bert4rec", "bsarec", "caser", "lightgcn", "ngcf"),
    # features of films and users are data that may not be redistributed, and a model holds them
    Recipe(
        "ml-100k/two_tower",
        "configs/ml-100k/two_tower.yaml",
        (
            "--data.init_args.item_features=[]",
            "--data.init_args.user_features=[]",
            "--data.init_args.missing_values=[]",
        ),
    ),
    *_plain("video", "float16", "gru4rec", "youtube_dnn", "mind"),
    *(
        recipe._replace(options=OF_DIGINETICA)
        for recipe in _plain("diginetica", "float16", "youtube_dnn", "gru4rec", "comirec_sa")
    ),
    *_plain("beauty", "float16", "sasrec"),
    *_plain("toys", "float16", "sasrec"),
]
