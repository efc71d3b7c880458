"""Docstrings of the package as reStructuredText.

They are plain text with backticks: equations are indented paragraphs, and `*`, `|` and `_` mean what they say. Napoleon
reads the sections; this reads the rest, before it.
"""

import re

EQUATIONS = "Equations:"
_HEADER = re.compile(r"[A-Z]\w*:$")
_SKIPPED = {"Example:"}
"""Sections that are code."""
_CODE = re.compile(r"(``.+?``|`[^`]+`)")


def to_rst(lines: list[str]) -> list[str]:
    """A docstring without its surrounding indentation, in a form that napoleon reads.

    Indented paragraphs become literal blocks, special characters are escaped, ``Returns:`` becomes a field (napoleon
    would take what stands before a colon for a type), and the equations that a rule's docstring ends in come first.
    """
    opening, *sections = _sections(lines)
    equations = [section for section in sections if section[0] == EQUATIONS]
    others = [section for section in sections if section[0] != EQUATIONS]
    result = _prose(opening)
    for section in equations:
        result += ["", ".. rubric:: Equations", "", *_prose(_dedented(section[1:])), ""]
    for header, *body in others:
        if header == "Returns:":
            result += _field("returns", _prose(_dedented(body)))
        elif header in _SKIPPED:
            result += [header, *body]
        else:
            result += [header, *_prose(body)]
    return result


def _sections(lines: list[str]) -> list[list[str]]:
    """Text before the first header, then each header with what is indented below it."""
    sections: list[list[str]] = [[]]
    for number, line in enumerate(lines):
        below = next((later for later in lines[number + 1 :] if later), "")
        if _HEADER.match(line) and below.startswith("  "):
            sections.append([line])
        else:
            sections[-1].append(line)
    return sections


def _dedented(lines: list[str]) -> list[str]:
    indent = min((_indent(line) for line in lines if line), default=0)
    return [line[indent:] for line in lines]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _field(name: str, body: list[str]) -> list[str]:
    first, *rest = body or [""]
    return [f":{name}: {first}", *(f"  {line}" if line else "" for line in rest), ""]


def _prose(lines: list[str]) -> list[str]:
    """Text with its indented paragraphs as literal blocks and the rest escaped."""
    base = min((_indent(line) for line in lines if line), default=0)
    result: list[str] = []
    literal, blank = False, True
    for line in lines:
        if not line:
            blank = True
            result.append(line)
            continue
        deeper = _indent(line) > base
        if deeper and blank and not literal:
            result += [" " * base + ".. code-block:: text", ""]
            literal = True
        elif not deeper:
            literal = False
        result.append(line if literal else _escaped(line))
        blank = False
    return result


def _escaped(line: str) -> str:
    parts = _CODE.split(line)
    return "".join(part if number % 2 else _escaped_text(part) for number, part in enumerate(parts))


def _escaped_text(text: str) -> str:
    text = re.sub(r"([*|\\])", r"\\\1", text)
    text = re.sub(r"(?<=\w)_(?!\w)", r"\\_", text)
    return re.sub(r"^(\s*)\.\. ", r"\1\\.. ", text)
