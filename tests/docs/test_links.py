"""Relative links of every page lead to files of the repository; in the site, Sphinx checks where they lead."""

import importlib.util

import pytest

from tests.docs.pages import ROOT, relative_links

BUILT = {"_build", "results", "notebooks"}
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
PAGES = sorted(path.relative_to(ROOT) for path in PAGES if not BUILT & set(path.relative_to(ROOT).parts))


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_relative_links_lead_to_files(page):
    links = relative_links((ROOT / page).read_text(encoding="utf-8"))
    dead = [link for link in links if not ((ROOT / page).parent / link.partition("#")[0]).exists()]
    assert dead == []


def test_links_to_results_and_notebooks_become_pages_of_the_site():
    spec = importlib.util.spec_from_file_location("elsewhere", ROOT / "docs/_ext/elsewhere.py")
    elsewhere = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(elsewhere)
    homes = elsewhere.homes_of_records(
        "# Results\n\n## a2000\n\n### a2000_figS1, default\n\nText.\n\n## b2001\n\nText.\n"
    )
    assert homes == {"a2000": "a2000", "a2000_figs1-default": "a2000", "b2001": "b2001"}
    text = "[r](../../experiments/RESULTS.md#a2000_figs1-default) [p](../experiments/RESULTS.md#b2001) "
    text += (
        "[all](../../experiments/RESULTS.md), [n](../../notebooks/01.ipynb) [o](../results.md) [w](https://b.c/x.md)"
    )
    assert elsewhere.to_pages(text, homes) == (
        "[r](../results/a2000.md#a2000_figs1-default) [p](results/b2001.md) "
        "[all](../results/index.md), [n](../notebooks/01.ipynb) [o](../results.md) [w](https://b.c/x.md)"
    )
    with pytest.raises(KeyError):
        elsewhere.to_pages("[r](../../experiments/RESULTS.md#a2000_fig2-default)", homes)


def test_relative_links_are_found():
    page = '[a](https://b.c) ![d](docs/e.png) [f](#g) [h](i.md#j) <img src="k.png">\n\n```python\nx[0](y)\n```\n'
    assert relative_links(page) == ["docs/e.png", "i.md#j", "k.png"]
