"""Brings what lies outside docs/ into the site: experiments/RESULTS.md, a page for each paper, and the notebooks.

Sphinx reads pages from its source folder alone. The pages are written there before the build, into folders that git
ignores: docs/results (``index.md`` and one page for each citekey) and docs/notebooks.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent


def setup(app: Sphinx) -> dict[str, bool]:
    """Writes the pages, once Sphinx has read its configuration."""
    app.connect("config-inited", lambda app, config: write_pages(ROOT, DOCS))
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
    overview, *papers = re.split(r"(?m)^## (?=\S)", text)
    pages, home = {}, {}
    for paper in papers:
        citekey, _, body = paper.partition("\n")
        pages[f"{citekey.strip()}.md"] = f"# {citekey.strip()}\n{body}".replace("\n### ", "\n## ")
        for record in re.findall(r"(?m)^### (.*)$", paper):
            home[_anchor(record)] = citekey.strip()
    contents = "\n".join(["```{toctree}", ":hidden:", "", *(name.removesuffix(".md") for name in pages), "```", ""])
    pages["index.md"] = f"{overview}\n{contents}"
    return {name: _relinked(page, name, home) for name, page in pages.items()}


def _anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _relinked(page: str, name: str, home: dict[str, str]) -> str:
    """A page with its pictures' paths from docs/results, and its links to records on other pages."""

    def link(found: re.Match[str]) -> str:
        other = f"{home.get(found[1], '')}.md"
        return f"]({other}#{found[1]})" if found[1] in home and other != name else found[0]

    return re.sub(r"\]\(#([^)]+)\)", link, page.replace("](records/", "](../../experiments/records/"))
