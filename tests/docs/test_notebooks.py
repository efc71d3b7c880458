"""The notebooks are stored as they ran: every cell in order, without an error, with what it prints and draws."""

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = {path.stem: path for path in sorted(FOLDER.glob("*.ipynb"))}


def problems(notebook):
    """Reasons why a stored notebook is no run from top to bottom, in words."""
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and cell["source"]]
    reasons = []
    if [cell["execution_count"] for cell in code] != list(range(1, len(code) + 1)):
        reasons.append("its cells were not run once each, in order: run all of it, and save it")
    outputs = [output for cell in code for output in cell["outputs"]]
    reasons += [f"it ended in {output['ename']}" for output in outputs if output["output_type"] == "error"]
    reasons += ["it printed a warning" for output in outputs if output.get("name") == "stderr"]
    if not any("image/png" in output.get("data", ()) for output in outputs):
        reasons.append("it shows no picture")
    return reasons


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_stored_as_it_ran(name):
    assert problems(json.loads(NOTEBOOKS[name].read_text(encoding="utf-8"))) == []


def test_what_is_missing_is_found():
    picture = {"output_type": "display_data", "data": {"image/png": "..."}}
    cells = [{"cell_type": "code", "source": "x", "execution_count": i, "outputs": [picture]} for i in (1, 2)]
    assert problems({"cells": cells}) == []
    assert "in order" in problems({"cells": cells[::-1]})[0]
    assert problems({"cells": [{**cells[0], "outputs": []}]}) == ["it shows no picture"]
    for output, words in (
        ({"output_type": "error", "ename": "KeyError"}, "it ended in KeyError"),
        ({"output_type": "stream", "name": "stderr"}, "it printed a warning"),
    ):
        assert words in problems({"cells": [{**cells[0], "outputs": [output]}]})
