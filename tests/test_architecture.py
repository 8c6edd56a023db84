"""The layers of the packages: who may import whom, and that nobody imports in a circle.

Imports are read from the source, so those inside functions and under ``TYPE_CHECKING`` count. The package's
own ``__init__`` stands aside, as it imports nothing until a name is asked of it: a public name that others
take from it counts as taken from ``public.py``.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

Layers = tuple[tuple[str, ...], ...]
ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "lightning_croloss"
#: What serving an exported model takes, a distribution of its own: it stands below all of the other package.
SERVING = ROOT / "serving" / "croloss_serving"

#: The folders, and the files beside them, from bottom to top: each may import what stands in its own line or
#: in one before it.
LAYERS: Layers = (
    ("common", "errors", "configurable"),
    ("sharding",),
    ("metrics", "retrieval"),
    ("losses",),
    ("schedules",),
    ("data",),
    ("negatives",),
    ("training",),
    ("recommend",),
    ("models",),
    ("baselines",),
    ("callbacks",),
    ("tuning", "integrations"),
    ("pretrained",),
    ("serving",),
    ("zoo",),
    ("cli", "public", "__main__"),
)
SERVING_LAYERS: Layers = (
    ("errors", "common"),
    ("recommend",),
    ("index", "index_file", "layout", "search", "user_feature_vectors"),
    ("export_folder",),
    ("recommender",),
    ("partitions",),
)
PACKAGES = [(PACKAGE, LAYERS), (SERVING, SERVING_LAYERS)]
#: What serving imports besides numpy, only when it is used, and with a message if it is missing.
ON_USE = {"pyarrow", "onnxruntime", "faiss"}


class Import(NamedTuple):
    """A file that imports another of the package; both are paths from the package's folder."""

    source: str
    line: int
    target: str


def modules_of(package: Path) -> dict[str, str]:
    """Return the file of each module, the modules named from the package on; the package itself is ``""``."""
    modules = {}
    for path in sorted(package.rglob("*.py")):
        file = path.relative_to(package)
        parts = file.parent.parts if file.name == "__init__.py" else file.with_suffix("").parts
        modules[".".join(parts)] = file.as_posix()
    return modules


def imports_of(package: Path) -> list[Import]:
    """Return the imports of one file of a package by another, but those of the package's own ``__init__``."""
    modules = modules_of(package)
    found = []
    for module, source in modules.items():
        if module == "":
            continue
        tree = ast.parse((package / source).read_text("utf-8"), source)
        for node in ast.walk(tree):
            for target in _targets(node, module, source, package.name, modules):
                found.append(Import(source, node.lineno, target))
    return found


def _targets(node: ast.AST, module: str, source: str, package: str, modules: dict[str, str]) -> Iterator[str]:
    """Yield the files of the package that a statement imports."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            name, _, inner = alias.name.partition(".")
            if name == package and inner:
                yield modules[_longest(inner, modules)]
    elif isinstance(node, ast.ImportFrom):
        start = _start(node, module, source, package)
        if start is None:
            return
        for alias in node.names:
            inner = f"{start}.{alias.name}".strip(".")
            if inner in modules:
                yield modules[inner]
            elif start != "":
                yield modules[_longest(start, modules)]
            elif "public" in modules and not alias.name.startswith("__"):
                yield modules["public"]


def _start(node: ast.ImportFrom, module: str, source: str, package: str) -> str | None:
    """Return the module that ``from … import`` names, from the package on; None if it is of another one."""
    if node.level == 0:
        name, _, inner = (node.module or "").partition(".")
        return inner if name == package else None
    parts = module.split(".")
    if not source.endswith("__init__.py"):
        parts.pop()
    parts = parts[: len(parts) - (node.level - 1)]
    return ".".join([*parts, node.module or ""]).strip(".")


def _longest(name: str, modules: dict[str, str]) -> str:
    """Return the longest beginning of a dotted name that is a module."""
    while name not in modules:
        name = name.rpartition(".")[0]
    return name


def forbidden_edges(package: Path, imports: list[Import], layers: Layers = LAYERS) -> list[str]:
    """Return a sentence for each import of something above the layer of the file that imports it."""
    layer_of = {name: layer for layer, names in enumerate(layers) for name in names}
    sentences = []
    for source, line, target in imports:
        below, above = _folder(source), _folder(target)
        unknown = [name for name in (below, above) if name not in layer_of]
        if unknown:
            sentences.append(f"{package.name}/{source}:{line}: {unknown[0]} has no layer: add it to LAYERS")
        elif layer_of[above] > layer_of[below]:
            sentences.append(
                f"{package.name}/{source}:{line} imports {target}: {below} must not import {above}, "
                f"which stands above it"
            )
    return sentences


def _folder(file: str) -> str:
    return file.partition("/")[0].removesuffix(".py")


def circles_of(imports: list[Import]) -> list[list[str]]:
    """Return circles of imports, each as the files along it, the first one again at the end.

    As many as are needed so that without one import of each there would be none left.
    """
    edges: dict[str, set[str]] = {}
    for source, _, target in imports:
        edges.setdefault(source, set()).add(target)
    circles: list[list[str]] = []
    done: set[str] = set()
    path: list[str] = []

    def visit(file: str) -> None:
        if file in path:
            circles.append([*path[path.index(file) :], file])
        elif file not in done:
            path.append(file)
            for target in sorted(edges.get(file, ())):
                visit(target)
            done.add(path.pop())

    for file in sorted(edges):
        visit(file)
    return circles


def packages_of(package: Path, nested: bool = True) -> set[str]:
    """Return the top-level packages that the files of a package import.

    Args:
        package: the folder of the package.
        nested: whether imports inside functions and conditions count, such as those for types.
    """
    found = set()
    for path in package.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"), path.name)
        for node in ast.walk(tree) if nested else tree.body:
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                inside = node.level > 0
                found.add(package.name if inside else (node.module or "").partition(".")[0])
    return found


# ---------------------------------------------------------------------- the packages


@pytest.mark.parametrize(("package", "layers"), PACKAGES)
def test_nobody_imports_what_stands_above(package: Path, layers: Layers) -> None:
    sentences = forbidden_edges(package, imports_of(package), layers)
    assert not sentences, "\n".join(["imports that the layers forbid:", *sentences])


@pytest.mark.parametrize("package", [package for package, _ in PACKAGES])
def test_nobody_imports_in_a_circle(package: Path) -> None:
    circles = [" -> ".join(circle) for circle in circles_of(imports_of(package))]
    assert not circles, "\n".join(["circles of imports:", *circles])


@pytest.mark.parametrize(("nested", "others"), [(True, ON_USE), (False, set())])
def test_serving_imports_a_closed_set(nested: bool, others: set[str]) -> None:
    found = packages_of(SERVING, nested)
    assert found - sys.stdlib_module_names == {SERVING.name, "numpy", *others}


@pytest.mark.parametrize(("package", "layers"), PACKAGES)
def test_every_file_of_the_package_has_a_layer(package: Path, layers: Layers) -> None:
    known = {name for names in layers for name in names}
    missing = {_folder(file) for module, file in modules_of(package).items() if module} - known
    assert not missing, f"add to LAYERS: {', '.join(sorted(missing))}"


# ---------------------------------------------------------------------- the test itself


def made(folder: Path, files: dict[str, str]) -> Path:
    """Write a package of the given files, with an ``__init__`` in each folder."""
    package = folder / "shop"
    for name, text in {"__init__.py": "from shop.public import *", **files}.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text)
    return package


def test_a_tidy_tree_passes(tmp_path: Path) -> None:
    package = made(
        tmp_path,
        {
            "common/files.py": "import os.path\nfrom shopping import losses",
            "losses/__init__.py": "from shop.losses.base import Loss",
            "losses/base.py": "from shop import __version__\nfrom ..common import files",
            "models/mind.py": "import shop\nimport shop.losses.base\nfrom shop.losses import Loss",
            "public.py": "from .models.mind import MIND",
        },
    )
    imports = imports_of(package)
    assert set(imports) == {
        ("losses/__init__.py", 1, "losses/base.py"),
        ("losses/base.py", 2, "common/files.py"),
        ("models/mind.py", 2, "losses/base.py"),
        ("models/mind.py", 3, "losses/__init__.py"),
        ("public.py", 1, "models/mind.py"),
    }
    assert forbidden_edges(package, imports) == []
    assert circles_of(imports) == []


@pytest.mark.parametrize(
    "text",
    [
        "import os\nfrom shop.models.mind import MIND",
        "import os\nimport shop.models.mind",
        "import os\nfrom shop.models import mind",
        "import os\nfrom ..models.mind import MIND",
        "def lazily():\n    from shop.models.mind import MIND",
        "if TYPE_CHECKING:\n    from shop.models.mind import MIND",
    ],
)
def test_an_import_of_what_stands_above_is_found(tmp_path: Path, text: str) -> None:
    package = made(tmp_path, {"losses/base.py": text, "models/mind.py": ""})
    assert forbidden_edges(package, imports_of(package)) == [
        "shop/losses/base.py:2 imports models/mind.py: losses must not import models, which stands above it"
    ]


def test_a_public_name_taken_from_the_root_is_found(tmp_path: Path) -> None:
    package = made(tmp_path, {"zoo/cards.py": "from shop import MIND", "public.py": ""})
    [sentence] = forbidden_edges(package, imports_of(package))
    assert sentence.startswith("shop/zoo/cards.py:1 imports public.py: zoo must not import public")


def test_a_folder_without_a_layer_is_found(tmp_path: Path) -> None:
    package = made(tmp_path, {"attic/old.py": "from shop.common import files", "common/files.py": ""})
    [sentence] = forbidden_edges(package, imports_of(package))
    assert re.fullmatch(r"shop/attic/old\.py:1: attic has no layer: .*", sentence)


def test_the_packages_that_are_imported_are_found(tmp_path: Path) -> None:
    lazy = "def lazily():\n    from torch import nn\nif TYPE_CHECKING:\n    import lightning.pytorch"
    package = made(tmp_path, {"losses/base.py": f"import numpy as np, os.path\nfrom . import files\n{lazy}"})
    assert packages_of(package, nested=False) == {"numpy", "os", "shop"}
    assert packages_of(package) == {"numpy", "os", "shop", "torch", "lightning"}


def test_a_circle_of_files_is_found(tmp_path: Path) -> None:
    package = made(
        tmp_path,
        {
            "data/batch.py": "from shop.data import loader",
            "data/loader.py": "def load():\n    from shop.data.table import reading",
            "data/table/reading.py": "if TYPE_CHECKING:\n    from shop.data.batch import Batch",
            "models/mind.py": "from shop.data.batch import Batch",
        },
    )
    assert circles_of(imports_of(package)) == [
        ["data/batch.py", "data/loader.py", "data/table/reading.py", "data/batch.py"]
    ]


def test_a_circle_through_the_init_of_a_folder_is_found(tmp_path: Path) -> None:
    package = made(
        tmp_path,
        {
            "data/__init__.py": "from shop.data.batch import Batch",
            "data/batch.py": "from shop.data import SIZE",
        },
    )
    assert circles_of(imports_of(package)) == [["data/__init__.py", "data/batch.py", "data/__init__.py"]]
