"""Docstrings begin with a noun or a verb, and not with a word that asks, joins or places."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for room in ("plasticity_jax", "experiments") for path in (ROOT / room).rglob("*.py"))
OPENINGS = {
    *("What", "Which", "How", "Where", "Whether", "That", "So"),
    *("Of", "As", "In", "By", "For", "To", "From", "With", "At", "On", "If"),
}


def odd(source):
    """First lines of the docstrings that begin with one of `OPENINGS`."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    texts = [ast.get_docstring(node) or "" for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    return [text.splitlines()[0] for text in texts if text and text.split()[0].strip(",") in OPENINGS]


@pytest.mark.parametrize("room", ["plasticity_jax", "experiments"])
def test_docstrings_begin_with_a_noun_or_a_verb(room):
    found = {str(path.relative_to(ROOT)): odd(path.read_text(encoding="utf-8")) for path in FILES if room in path.parts}
    assert len(found) > 50
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_others_are_found():
    source = '"""What it is."""\n\n\ndef f():\n    """Of a thing."""\n\n\nclass C:\n    """Whatever."""\n'
    assert odd(source) == ["What it is.", "Of a thing."]
