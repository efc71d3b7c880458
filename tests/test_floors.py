"""Checks beyond import-linter: forbidden calls in the lower floors, and the docstrings of rules.

The lower floors are everything below `plasticity_jax.run`. They are pure functions for others to compile: they do not
jit, print, call back to the host, draw Python-side random numbers, or touch files (`plasticity_jax.data` may), and they
import heavy packages inside the function that needs them, if at all.
"""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "plasticity_jax"
FILES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
LOWER = [name for name in FILES if not name.startswith(("run/", "command/", "bench/"))]
RULES = [name for name in LOWER if name.startswith("rules/") and not name.endswith("/common.py")]

HEAVY = {"matplotlib", "tqdm", "orbax", "tensorflow_datasets", "cv2"}
HOST = {"jax.pure_callback", "jax.experimental.io_callback", "jax.debug.print", "jax.debug.callback"}
FILE_ACCESS = {"open", "pathlib", "shutil", "tempfile", "numpy.load", "numpy.save", "numpy.savez", "os.environ"}
FORBIDDEN = {"jax.jit", "jax.pmap", "print", "numpy.random", "random", *HOST, *FILE_ACCESS}
# Locality is made by arguments: a stop_gradient inside a rule silently corrupts meta-gradients.
FORBIDDEN |= {"jax.lax.stop_gradient"}
# The exceptions, each by name. Data sets are read from files, once, into host arrays; laws are run, and so compiled.
ALLOWED = {"data/datasets.py": FILE_ACCESS, "testing/problem.py": {"jax.jit"}}
# A builder is a subclass of tensorflow-datasets' own, so its file needs the import; only builds import the file.
HEAVY_AT_TOP = {"data/mini_imagenet_dataset_builder.py": {"tensorflow_datasets"}}


def names_of(tree: ast.AST) -> dict[str, str]:
    """Every name that an import binds, anywhere in the file, with the full name that it stands for."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.partition(".")[0]
                names[bound] = alias.name if alias.asname else bound
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def resolve(node: ast.AST, names: dict[str, str]) -> str | None:
    """The full dotted name that an expression stands for, ``jnp.dot -> jax.numpy.dot``."""
    if isinstance(node, ast.Attribute):
        owner = resolve(node.value, names)
        return owner and f"{owner}.{node.attr}"
    return names.get(node.id, node.id) if isinstance(node, ast.Name) else None


def uses(source: str) -> set[str]:
    """Dotted names that a file loads, each with all its parents; docstrings do not count."""
    tree = ast.parse(source)
    names = names_of(tree)
    used = {name for node in ast.walk(tree) if (name := resolve(node, names))} | set(names.values())
    return {".".join(name.split(".")[: i + 1]) for name in used for i in range(name.count(".") + 1)}


def imported_at_top(source: str) -> set[str]:
    """Packages that a file imports at module level, in any block."""
    packages, queue = set(), [ast.parse(source)]
    while queue:
        node = queue.pop()
        if isinstance(node, ast.Import):
            packages |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            packages.add((node.module or "").partition(".")[0])
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            queue.extend(ast.iter_child_nodes(node))
    return packages


def factories(source: str) -> list[ast.FunctionDef]:
    """The public functions of a file that return a rule."""
    body = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    return [node for node in body if node.returns and ast.unparse(node.returns).split(".")[-1] == "LearningRule"]


@pytest.mark.parametrize("name", LOWER)
def test_lower_floors_are_pure(name):
    source = FILES[name].read_text(encoding="utf-8")
    assert not uses(source) & (FORBIDDEN - ALLOWED.get(name, set()))
    assert not imported_at_top(source) & (HEAVY - HEAVY_AT_TOP.get(name, set()))


@pytest.mark.parametrize(
    "line",
    [
        "import jax\nf = jax.jit(g)",
        "from jax import jit\nf = jit(g)",
        "import functools, jax\n@functools.partial(jax.jit, static_argnums=0)\ndef f(x): ...",
        "from jax import lax\ny = lax.stop_gradient(x)",
        "import jax\ny = jax.lax.stop_gradient(x)",
        "import numpy as np\nr = np.random.default_rng(0)",
        "import random",
        "import jax\njax.debug.print('{}', x)",
        "print(x)",
        "def f():\n  with open('x') as g: ...",
        "from pathlib import Path",
    ],
)
def test_the_check_finds_forbidden_uses(line):
    assert uses(line) & FORBIDDEN


def test_the_check_passes_other_uses():
    innocent = "import jax\ndef f(key, printer):\n  'print(x) jax.jit'\n  return jax.random.normal(key), printer.print"
    assert not uses(innocent) & FORBIDDEN
    assert imported_at_top("if x:\n  import tqdm") == {"tqdm"}
    assert not imported_at_top("def f():\n  import tqdm")


RULE_FACTORIES = [
    pytest.param(FILES[name], node.name, id=f"{name}:{node.name}")
    for name in RULES
    for node in factories(FILES[name].read_text(encoding="utf-8"))
    if not node.name.startswith("_")
]


@pytest.mark.parametrize(("path", "factory"), RULE_FACTORIES)
def test_a_rule_documents_itself(path, factory):
    source = path.read_text(encoding="utf-8")
    module = ast.get_docstring(ast.parse(source)) or ""
    for word in ("memory", "time", "reads|criteri(on|a)"):  # the cost of a step, and the input of each synapse
        assert re.search(rf"\b({word})\b", module, re.IGNORECASE), f"the module docstring does not mention {word!r}"
    doc = ast.get_docstring(next(node for node in factories(source) if node.name == factory)) or ""
    sections = re.findall(r"^(Args|Returns|Raises|Examples?|References?):$", doc, re.MULTILINE)
    order = [section.rstrip("s") if section[0] in "ER" else section for section in sections]
    standard = ["Args", "Return", "Raise", "Example", "Reference"]
    assert order == [section for section in standard if section in order], f"sections are out of order: {sections}"
    assert {"Args", "Return", "Example", "Reference"} <= set(order), f"sections are missing: {sections}"
    assert ">>>" in doc, "the example is not one that doctest runs"
