"""Links of the pages that stand outside the site lead to files; inside it Sphinx sees to them."""

import pytest

from tests.docs.pages import ROOT, relative_links


@pytest.mark.parametrize("page", sorted(path.name for path in ROOT.glob("*.md")))
def test_relative_links_lead_to_files(page):
    links = relative_links((ROOT / page).read_text(encoding="utf-8"))
    dead = [link for link in links if not (ROOT / link.partition("#")[0]).exists()]
    assert dead == []


def test_relative_links_are_found():
    page = '[a](https://b.c) ![d](docs/e.png) [f](#g) [h](i.md#j) <img src="k.png">\n\n```python\nx[0](y)\n```\n'
    assert relative_links(page) == ["docs/e.png", "i.md#j", "k.png"]
