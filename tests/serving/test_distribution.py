"""Two distributions: of one version, no file in both, and serving works where only the smaller one is."""

import re
from pathlib import Path

import pytest

import croloss_serving
import lightning_croloss
from tests.serving.environment import make_environment, run_in

ROOT = Path(__file__).parents[2]
TEXTS = {folder: (ROOT / folder / "pyproject.toml").read_text("utf-8") for folder in (".", "serving")}

#: An export with an index, and what its serving needs besides numpy.
EXPORT = ROOT / "tests/formats/version_1/exports/youtube_dnn"
EXTRA = ("onnxruntime", "pyarrow", "faiss-cpu")


def files_of(folder: str, target: str) -> set[str]:
    """Return the files that a wheel or an sdist of a folder holds, without its metadata."""
    pytest.importorskip("hatchling", reason="needs the extra [dev]")
    from hatchling.builders.sdist import SdistBuilder
    from hatchling.builders.wheel import WheelBuilder

    builder = {"wheel": WheelBuilder, "sdist": SdistBuilder}[target](str(ROOT / folder))
    return {Path(file.distribution_path).as_posix() for file in builder.recurse_included_files()}


def test_no_file_is_in_both_wheels():
    ours, serving = files_of(".", "wheel"), files_of("serving", "wheel")
    assert not ours & serving
    for package, files in ((lightning_croloss, ours), (croloss_serving, serving)):
        folder = Path(package.__file__).parent
        modules = {path.relative_to(folder.parent).as_posix() for path in folder.rglob("*.py")}
        assert modules <= files
        assert f"{folder.name}/py.typed" in files
        assert {file.partition("/")[0] for file in files} == {folder.name}


def test_each_sdist_can_be_built_alone():
    ours, serving = files_of(".", "sdist"), files_of("serving", "sdist")
    assert not [file for file in ours if file.startswith("serving/")]
    for files in (ours, serving):
        assert {"pyproject.toml", "README.md", "LICENSE"} <= files


def test_both_have_the_same_version_and_licence():
    versions = [re.search(r'^version = "(.*)"$', text, flags=re.MULTILINE)[1] for text in TEXTS.values()]
    required = re.findall(r'"lightning-croloss-serving(?:\[serve\])?(==[^"]*)?"', TEXTS["."])
    assert {*versions} == {croloss_serving.__version__} == {lightning_croloss.__version__}
    assert required == [f"=={versions[0]}"] * 3
    assert (ROOT / "LICENSE").read_bytes() == (ROOT / "serving" / "LICENSE").read_bytes()


def test_public_names_are_the_same_objects():
    from lightning_croloss import data, errors, recommend, serving

    assert lightning_croloss.Recommender is serving.Recommender is croloss_serving.Recommender
    assert lightning_croloss.Recommendations is croloss_serving.Recommendations
    for name in recommend.__all__:
        assert getattr(recommend, name) is getattr(croloss_serving, name)
    for name in {*errors.__all__} - {"NonFiniteLossError", "NotEnoughSpaceError"}:  # of training and writing
        assert getattr(errors, name) is getattr(croloss_serving.errors, name)
    assert data.Vocabulary is croloss_serving.common.vocabulary.Vocabulary
    assert {*croloss_serving.__all__} <= {*dir(croloss_serving)}
    assert not hasattr(croloss_serving, "Recomender")


def test_importing_the_errors_alone_needs_nothing(tmp_path):
    printed = run_in(
        make_environment(tmp_path / "site"),
        "import croloss_serving.errors; print(sorted({'numpy', 'torch', 'difflib'} & set(sys.modules)))",
    )
    assert printed == "['difflib']\n"


@pytest.mark.parametrize("missing", EXTRA)
def test_what_is_missing_is_installed_without_torch(missing, tmp_path):
    for package in ("onnxruntime", "pyarrow", "faiss"):
        pytest.importorskip(package, reason="needs the extra [serve]")
    environment = make_environment(tmp_path / "site", "numpy", *(name for name in EXTRA if name != missing))
    code = f"""
from croloss_serving import Recommender
try:
    Recommender.from_export({str(EXPORT)!r})
except ImportError as error:
    print(type(error).__name__, error, sep=": ")
"""
    what = "this index" if missing == "faiss-cpu" else "serving a model"
    assert run_in(environment, code) == (
        f"MissingExtraError: {what} needs the extra [serve]: pip install 'lightning-croloss-serving[serve]'\n"
    )
