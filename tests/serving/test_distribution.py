"""What serving an exported model imports: a closed set of modules that needs neither torch nor lightning."""

import ast
from collections.abc import Iterator
from pathlib import Path

import lightning_croloss

PACKAGE = "lightning_croloss"
ROOT = Path(lightning_croloss.__file__).parent
SERVING = f"{PACKAGE}.serving.recommender"

#: Every module of the package that serving needs; they could be a distribution of their own.
CLOSED_SET = {
    "common",
    "common.arrow_tokens",
    "common.blocks",
    "common.feature_encoding",
    "common.hashing",
    "common.manifest",
    "common.standardisation",
    "common.vocabulary",
    "errors",
    "recommend",
    "recommend.item_table",
    "recommend.lists",
    "recommend.popular",
    "recommend.results",
    "recommend.token_table",
    "recommend.tokens",
    "recommend.user_features",
    "recommend.users",
    "serving",
    "serving.index",
    "serving.layout",
    "serving.recommender",
    "serving.search",
    "serving.user_features",
}
#: What else they import, wherever the import stands; the last three on use, with a message if one is missing.
OTHERS = {"numpy", "pyarrow", "onnxruntime", "faiss"}
STANDARD_LIBRARY = {
    "__future__",
    "collections",
    "dataclasses",
    "difflib",
    "functools",
    "hashlib",
    "itertools",
    "json",
    "math",
    "pathlib",
    "re",
    "types",
    "typing",
    "warnings",
}


def path_of(module: str) -> Path | None:
    """Return the file of a module of the package; None if the name is not one."""
    path = ROOT.joinpath(*module.split(".")[1:])
    if (path / "__init__.py").is_file():
        return path / "__init__.py"
    return path.with_suffix(".py") if path.with_suffix(".py").is_file() else None


def imported(module: str) -> Iterator[str]:
    """Yield every module that the source of a module names, inside functions and for types too."""
    path = path_of(module)
    assert path is not None, module
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import, which this test does not follow"
            assert node.module is not None
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            ours = node.module.split(".")[0] == PACKAGE
            yield from (name for name in submodules if ours and path_of(name) is not None)
            yield node.module


def reached(start: str) -> tuple[set[str], set[str]]:
    """Return the modules of the package and the other top-level packages that a module needs.

    The package's own ``__init__`` is left out: its public names are imported when one is first used.
    """
    ours: set[str] = set()
    others: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        top, *rest = name.split(".")
        if top != PACKAGE:
            others.add(top)
            continue
        # importing a module runs the __init__ of the folders above it
        for depth in range(1, len(rest) + 1):
            module = ".".join([PACKAGE, *rest[:depth]])
            if module not in ours:
                ours.add(module)
                waiting.extend(imported(module))
    return ours, others


def test_serving_imports_a_closed_set():
    ours, others = reached(SERVING)
    assert {name.removeprefix(f"{PACKAGE}.") for name in ours} == CLOSED_SET
    assert others - STANDARD_LIBRARY == OTHERS
    assert not {"torch", "lightning"} & others


def test_the_walk_finds_torch_where_it_is():
    ours, others = reached(f"{PACKAGE}.recommend.token_recommender")
    assert {f"{PACKAGE}.data.batch", f"{PACKAGE}.recommend.lists"} < ours
    assert "torch" in others
