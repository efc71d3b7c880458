"""Brings what lies outside docs/ into the site: experiments/RESULTS.md, a page for each paper, and the notebooks.

Sphinx reads pages from its source folder alone. The pages are written there before the build, into folders that git
ignores: docs/results (``index.md`` and one page for each citekey) and docs/notebooks. Pages of docs/ link to the files
themselves, so that the links work in the repository too; in the site these links lead to the pages.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent


def setup(app: Sphinx) -> dict[str, bool]:
    """Writes the pages, once Sphinx has read its configuration."""
    app.connect("config-inited", lambda app, config: write_pages(ROOT, DOCS))
    homes = homes_of_records((ROOT / "experiments/RESULTS.md").read_text(encoding="utf-8"))

    def relink(app: Sphinx, name: str, source: list[str]) -> None:
        source[0] = to_pages(source[0], homes)

    app.connect("source-read", relink)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_pages(root: Path, docs: Path) -> None:
    """Writes docs/results and docs/notebooks; an unchanged file is left alone and stays in the cache."""
    results = result_pages((root / "experiments/RESULTS.md").read_text(encoding="utf-8"))
    notebooks = {path.name: path.read_text(encoding="utf-8") for path in (root / "notebooks").glob("*.ipynb")}
    for folder, pages in (("results", results), ("notebooks", notebooks)):
        (docs / folder).mkdir(exist_ok=True)
        for stale in {path.name for path in (docs / folder).iterdir() if path.is_file()} - set(pages):
            (docs / folder / stale).unlink()
        for name, text in pages.items():
            path = docs / folder / name
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")


def result_pages(text: str) -> dict[str, str]:
    """Pages by file name: the overview as index.md, and a page for each paper.

    Args:
      text: RESULTS.md: an overview, then ``## citekey`` with ``### record`` for each record.
    """
    overview, *papers = _papers(text)
    pages, homes = {}, homes_of_records(text)
    for paper in papers:
        citekey, _, body = paper.partition("\n")
        pages[f"{citekey.strip()}.md"] = f"# {citekey.strip()}\n{body}".replace("\n### ", "\n## ")
    contents = "\n".join(["```{toctree}", ":hidden:", "", *(name.removesuffix(".md") for name in pages), "```", ""])
    pages["index.md"] = f"{overview}\n{contents}"
    return {name: _relinked(page, name, homes) for name, page in pages.items()}


def homes_of_records(text: str) -> dict[str, str]:
    """The citekey of the paper, by the anchor of a paper or of a record.

    Args:
      text: RESULTS.md.
    """
    homes = {}
    for paper in _papers(text)[1:]:
        citekey = paper.partition("\n")[0].strip()
        homes |= {citekey: citekey} | {_anchor(record): citekey for record in re.findall(r"(?m)^### (.*)$", paper)}
    return homes


def to_pages(text: str, homes: dict[str, str]) -> str:
    """A page of docs/ whose links to RESULTS.md and to notebooks lead to pages of the site.

    Args:
      text: of the page.
      homes: citekeys by anchor, of `homes_of_records`.

    Raises:
      KeyError: RESULTS.md has no such anchor.
    """

    def link(match: re.Match[str]) -> str:
        up, anchor = match.groups()
        if anchor is None:
            return f"]({up}results/index.md)"
        page = f"{up}results/{homes[anchor]}.md"
        return f"]({page})" if anchor == homes[anchor] else f"]({page}#{anchor})"

    text = re.sub(r"\]\(((?:\.\./)*)\.\./experiments/RESULTS\.md(?:#([^)]+))?\)", link, text)
    return re.sub(r"\]\(((?:\.\./)*)\.\./notebooks/([^)/]+\.ipynb)\)", r"](\1notebooks/\2)", text)


def _papers(text: str) -> list[str]:
    """The overview, and the part of each paper without the marks of its heading."""
    return re.split(r"(?m)^## (?=\S)", text)


def _anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _relinked(page: str, name: str, homes: dict[str, str]) -> str:
    """A page with its pictures' paths from docs/results, and its links to records on other pages."""

    def link(match: re.Match[str]) -> str:
        other = f"{homes.get(match[1], '')}.md"
        return f"]({other}#{match[1]})" if match[1] in homes and other != name else match[0]

    return re.sub(r"\]\(#([^)]+)\)", link, page.replace("](records/", "](../../experiments/records/"))
