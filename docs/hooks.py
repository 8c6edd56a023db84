"""What the site does beyond MkDocs: links between the documentation and the rest of the repository.

The pages are read on a code host too, where `../benchmarks/ml_100k/README.md` is a link like any other.
MkDocs knows only the files of `docs/`. So every file of the repository that a page links to becomes part of
the site, under `repository/`, and so does what such a file links to in turn. A link to a folder means its
README; without one, only its text is shown. A link to what does not exist is left as it is: `mkdocs build
--strict` fails at it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File
from pymdownx.slugs import slugify

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

FOLDER = "repository"
README = "README.md"
# code is matched first, so that what looks like a link in it is left alone
CODE = r"^```.*?^```|`[^`\n]+`"
LINK = re.compile(
    CODE + r"|(?:\[(?P<label>[^\[\]]*))?\]\((?P<target>[^)\s#:]+)(?P<anchor>#[^)\s]*)?\)",
    re.MULTILINE | re.DOTALL,
)


def on_config(config: MkDocsConfig) -> None:
    """Give headings the anchors that code hosts give them."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = slugify(case="lower")


def on_files(files: Files, *, config: MkDocsConfig) -> None:
    """Add every file of the repository that is linked to, directly or through another such file."""
    pending = [file for file in files if file.is_documentation_page()]
    while pending:
        page = pending.pop()
        for match in LINK.finditer(page.content_string):
            path = _linked(match, page.src_uri, config)
            if path is None or not path.is_file() or files.get_file_from_path(_site_path(path, config)):
                continue
            file = File.generated(config, _site_path(path, config), abs_src_path=str(path))
            files.append(file)
            if file.is_documentation_page():
                pending.append(file)


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Point the links to files of the repository at their copies in the site."""
    start = posixpath.dirname(page.file.src_uri) or "."

    def rewrite(match: re.Match[str]) -> str:
        path = _linked(match, page.file.src_uri, config)
        label = match["label"]
        if path is None or (path.is_dir() and label is None):
            return match[0]
        if path.is_dir():
            return str(label)
        opening = "" if label is None else f"[{label}"
        return f"{opening}]({posixpath.relpath(_site_path(path, config), start)}{match['anchor'] or ''})"

    return LINK.sub(rewrite, markdown)


def _root(config: MkDocsConfig) -> Path:
    return Path(config.config_file_path).resolve().parent


def _linked(match: re.Match[str], page: str, config: MkDocsConfig) -> Path | None:
    """The file or folder of the repository that a link of the site's `page` means; None if there is none."""
    if match["target"] is None:
        return None
    root = _root(config)
    inside = page.startswith(f"{FOLDER}/")
    source = root / page.removeprefix(f"{FOLDER}/") if inside else Path(config.docs_dir) / page
    path = (source.parent / match["target"]).resolve()
    if not path.exists() or not path.is_relative_to(root):
        return None
    return path / README if (path / README).is_file() else path


def _site_path(path: Path, config: MkDocsConfig) -> str:
    """The path in the site of a file of the repository."""
    if path.is_relative_to(config.docs_dir):
        return path.relative_to(config.docs_dir).as_posix()
    return f"{FOLDER}/{path.relative_to(_root(config)).as_posix()}"
