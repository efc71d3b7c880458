"""Every code block of the site's pages runs and prints what the page says."""

import os
import subprocess
import sys

import pytest

from tests.docs.pages import ROOT, blocks

BROUGHT = {"results", "notebooks", "_build"}
"""Folders of docs/ that its build writes."""
PAGES = sorted(
    path for path in (ROOT / "docs").rglob("*.md") if path.relative_to(ROOT / "docs").parts[0] not in BROUGHT
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT / "docs")))
def test_a_page_runs(page, tmp_path):
    if not any(block.language in {"python", "pycon", "doctest"} for block in blocks(page.read_text(encoding="utf-8"))):
        return
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("JAX_", "XLA_"))}
    environment |= {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(
        [sys.executable, "-m", "tests.docs.pages", str(page)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
