"""Code blocks of Markdown pages: found, run as a reader would run them, and held to what the page prints.

Each page is one session, in a process of its own with JAX's default settings, but quick compiles, and an empty folder
to write in. A warning is an error.

    python -m tests.docs.pages docs/guides/start.md

A block of ``python`` with prompts is compared as doctest does. One without prompts is run too; if a block without a
language, or of ``text``, follows at once, then that is what it prints. ``<!-- not run: why -->`` before a block leaves
it out.
"""

import contextlib
import doctest
import io
import re
import shlex
import sys
import traceback
import warnings
from itertools import dropwhile
from pathlib import Path
from typing import NamedTuple

from plasticity_jax.run.devices import compile_quickly

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>`{3,})(?P<language>[^`\n]*)\n(?P<code>.*?)^(?P=indent)(?P=fence) *$", re.M | re.S
)
NOT_RUN = re.compile(r"<!-- not run: (\S.*?) -->\s*\Z", re.S)
LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)|(?:src|href)=\"([^\"]+)\"")
PYTHON = {"python", "pycon", "doctest"}
SHELL = {"console", "sh", "bash", "shell"}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Block(NamedTuple):
    """A fenced block of a page.

    Attributes:
      language: what stands behind the fence, or "".
      code: its lines, without the fence's indentation.
      line: of the page, from 1, where the code begins.
      gap: the text between the block before and this one.
    """

    language: str
    code: str
    line: int
    gap: str

    @property
    def why_not_run(self) -> str | None:
        found = NOT_RUN.search(self.gap)
        return found[1] if found else None


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found, end = [], 0
    for match in FENCE.finditer(text):
        code = re.sub(rf"(?m)^{match['indent']}", "", match["code"])
        line = text.count("\n", 0, match.start()) + 2
        found.append(Block(match["language"].strip(), code, line, text[end : match.start()]))
        end = match.end()
    return found


def failures(text: str, name: str) -> list[str]:
    """Failures where a page's Python is run, block after block; none after an exception outside prompts.

    Args:
      text: of the page.
      name: of the page, for messages.
    """
    found, namespace = blocks(text), {"__name__": "__main__"}
    problems: list[str] = []
    for block, after in zip(found, [*found[1:], None], strict=True):
        if block.language not in PYTHON or block.why_not_run:
            continue
        if ">>> " in block.code:
            problems += _run_with_prompts(block, namespace, name)
            continue
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                exec(compile("\n" * (block.line - 1) + block.code, name, "exec"), namespace)
        except Exception:
            return [*problems, f"{name}, line {block.line}:\n{traceback.format_exc(limit=-4)}"]
        answers = after is not None and after.language in {"", "text"} and not after.gap.strip()
        want, got = after.code if after is not None and answers else "", printed.getvalue()
        if answers and not doctest.OutputChecker().check_output(want, got, FLAGS):
            problems.append(f"{name}, line {block.line}: expected\n{want}got\n{got}")
    return problems


def _run_with_prompts(block: Block, namespace: dict, name: str) -> list[str]:
    problems: list[str] = []
    test = doctest.DocTestParser().get_doctest(block.code, {}, name, name, block.line - 1)
    test.globs = namespace
    doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(test, out=problems.append, clear_globs=False)
    return problems


def commands(text: str) -> list[tuple[int, list[str]]]:
    """The calls of this project's command line in a page's shell blocks, as (line, words behind the program's name).

    In a block of ``console`` commands are the lines behind a ``$``; a backslash carries on, ``&&`` and ``;`` part.
    """
    found = []
    for block in blocks(text):
        if block.language not in SHELL or block.why_not_run:
            continue
        joined = re.sub(r"\\\n", lambda _: "  ", block.code)
        for number, line in enumerate(joined.splitlines()):
            if block.language == "console":
                if not line.startswith("$ "):
                    continue
                line = line[2:]
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split, call = True, []
            for word in [*lexer, ";"]:
                if word and not set(word) - set(";&|<>()"):
                    found += [(block.line + number, call)] if (call := _words(call)) else []
                    call = []
                else:
                    call.append(word)
    return found


def _words(call: list[str]) -> list[str]:
    """Words behind ``plasticity`` or ``python -m experiments``; none in a call of another program."""
    call = [*dropwhile(lambda word: re.match(r"\w+=", word), call)]
    if call[:1] == ["srun"]:
        call = [*dropwhile(lambda word: Path(word).name != "plasticity", call)]
    if call and Path(call[0]).name == "plasticity":
        return call[1:]
    return call[3:] if call[1:3] == ["-m", "experiments"] else []


def relative_links(text: str) -> list[str]:
    """Links and pictures of a page that are dead where its text stands alone, as a README does on PyPI."""
    prose = FENCE.sub("", text)
    targets = [link or attribute for link, attribute in LINK.findall(prose)]
    return [target for target in targets if not re.match(r"https?://|mailto:|#", target)]


if __name__ == "__main__":
    compile_quickly()
    warnings.simplefilter("error")  # a reader sees warnings too
    path = Path(sys.argv[1])
    wrong = failures(path.read_text(encoding="utf-8"), path.name)
    sys.stdout.write("\n".join(wrong))
    sys.exit(bool(wrong))
