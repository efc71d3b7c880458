"""Code on the site's pages runs and prints the text on the page, and commands there have valid options."""

import os
import re
import subprocess
import sys

import pytest

from plasticity_jax.command.catalog import configure, find, load
from plasticity_jax.command.words import LONG, parser
from tests.docs.pages import PYTHON, ROOT, blocks, commands, failures

BROUGHT = {"results", "notebooks", "_build"}
"""Folders in docs/ that the build of the site writes."""
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if not BROUGHT.intersection(path.relative_to(ROOT).parts)
}
RUN = [name for name, text in PAGES.items() if any(block.language in PYTHON for block in blocks(text))]
FILES = {
    block.code[2:].partition("\n")[0]: block.code
    for text in PAGES.values()
    for block in blocks(text)
    if re.match(r"# \w+\.py\n", block.code)
}
"""Complete files on pages: blocks that begin with the name of the file."""
CALLING = [name for name, text in PAGES.items() if commands(text)]


@pytest.mark.parametrize("page", RUN)
def test_a_page_runs(page, tmp_path):
    """The page runs in a separate process, without the settings of the tests."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("JAX_", "XLA_"))}
    environment |= {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "MPLBACKEND": "Agg"}
    run = subprocess.run(
        [sys.executable, "-m", "tests.docs.pages", str(ROOT / page)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"


@pytest.mark.parametrize("page", CALLING)
def test_commands_have_valid_options(page, tmp_path):
    """Experiments of this repository, and files on a page, have the fields that a command changes."""
    for name, code in FILES.items():
        (tmp_path / name).write_text(code, encoding="utf-8")
    for line, words in commands(PAGES[page]):
        where = f"{page}, line {line}: plasticity {' '.join(words)}"
        try:
            args, rest = parser("plasticity").parse_known_args(words)
            rest = [word for word in rest if word != "..."]
            assert not rest or args.command in LONG, f"does not take {rest}"
            name = args.id if args.command in LONG else None
            if name is None or (name.endswith(".py") and name not in FILES):
                continue
            entry = find(str(tmp_path / name) if name in FILES else name, ROOT / "experiments")
            config = configure(load(entry), args.preset, args.seeds, rest)
            varied = [field.partition("=")[0] for field in [*vars(args).get("vary", ()), *vars(args).get("draw", ())]]
            unknown = [field for field in varied if not hasattr(config, field.replace("-", "_"))]
            assert not unknown, f"the experiment has no {unknown}"
        except (Exception, SystemExit) as error:
            raise AssertionError(f"{where}: {error}") from error


PAGE = """
```python
>>> x = 2
>>> x + 1
3

```

```python
y = x + 1
print(y)
```

```
3
```

<!-- not run: there is no such name -->

```python
nothing
```
"""


def test_a_page_is_one_session():
    assert failures(PAGE, "page.md") == []


@pytest.mark.parametrize(
    ("right", "wrong", "line"),
    [
        ("\n3\n\n```", "\n4\n\n```", "line 4"),
        ("```\n3\n```", "```\n4\n```", "line 10"),
        ("y =", "z =", "line 10"),
        ("not run:", "not now:", "line 21"),
    ],
    ids=["prompt", "printed", "exception", "left out"],
)
def test_errors_on_a_page_are_found(right, wrong, line):
    problems = failures(PAGE.replace(right, wrong, 1), "page.md")
    assert len(problems) == 1
    assert "page.md" in problems[0]
    assert line in problems[0]


def test_commands_are_found():
    page = """
```console
$ FOLDER=x .venv/bin/plasticity run a.py \\
    --seeds 3  # of five
seeds 3
$ cd here && python -m experiments list; ls
$ srun -n 4 plasticity list
```

```sh
plasticity report results > out.txt
```
"""
    words = [("run", "a.py", "--seeds", "3"), ("list",), ("list",), ("report", "results")]
    assert [tuple(words_of_command) for _, words_of_command in commands(page)] == words
