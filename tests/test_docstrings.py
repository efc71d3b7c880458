"""Docstrings begin with a noun or a verb, not with a question word, a conjunction or a preposition."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = {room: sorted((ROOT / room).rglob("*.py")) for room in ("plasticity_jax", "experiments", "tests")}
OPENINGS = {
    *("What", "Which", "How", "Where", "Whether", "That", "So"),
    *("Of", "As", "In", "By", "For", "To", "From", "With", "At", "On", "If"),
}


def refused_lines(source):
    """First lines of the docstrings that begin with one of `OPENINGS`."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    texts = [ast.get_docstring(node) or "" for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    return [text.splitlines()[0] for text in texts if text and text.split()[0].strip(",") in OPENINGS]


@pytest.mark.parametrize("room", FILES)
def test_docstrings_begin_with_a_noun_or_a_verb(room):
    assert len(FILES[room]) > 50
    refused = {str(path.relative_to(ROOT)): refused_lines(path.read_text(encoding="utf-8")) for path in FILES[room]}
    assert {path: lines for path, lines in refused.items() if lines} == {}


def test_refused_openings_are_found():
    source = '"""What it is."""\n\n\ndef f():\n    """Of a thing."""\n\n\nclass C:\n    """Whatever."""\n'
    assert refused_lines(source) == ["What it is.", "Of a thing."]
