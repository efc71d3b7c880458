"""Entries of public names for the pages of docs/api.

    .. public:: plasticity_jax.cells

       leaky
       gru

makes a table of the names with their first lines, and an entry for each. Signatures are those of the source, with its
own words for types. What single backticks name becomes a link if it is public; in Markdown, what they name in full, as
`pj.rules.rflo`, which must then be there.
"""

import ast
import contextlib
import functools
import importlib.util
import inspect
import itertools
import pkgutil
import re
import sys
import textwrap
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from docstrings import to_rst
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective

PACKAGE = "plasticity_jax"


def setup(app: Sphinx) -> dict[str, bool]:
    """Adds the directive, and what it needs of autodoc and of cross-references."""
    app.add_directive("public", Public)
    app.connect("autodoc-process-docstring", _process_docstring, priority=100)  # before napoleon
    app.connect("autodoc-process-signature", _process_signature)
    app.connect("missing-reference", _resolve)
    app.add_transform(NamesInMarkdown)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class NamesInMarkdown(SphinxTransform):
    """Links from code in a line of Markdown that is the full name of something public."""

    default_priority = 10  # before references are resolved

    def apply(self, **kwargs: Any) -> None:
        """Puts a reference around each such name."""
        if not str(self.env.doc2path(self.env.docname)).endswith((".md", ".ipynb")):
            return
        for literal in list(self.document.findall(nodes.literal)):
            name = literal.astext()
            linked = _is_in(literal, nodes.reference, nodes.title, addnodes.pending_xref)
            if linked or not re.fullmatch(r"(pj|plasticity_jax)(\.\w+)+(\(\))?", name):
                continue
            target = re.sub(r"^pj\.", f"{PACKAGE}.", name.removesuffix("()"))
            reference = addnodes.pending_xref(
                "", refdomain="py", reftype="obj", reftarget=target, refexplicit=True, refwarn=True
            )
            literal.replace_self(reference)
            reference += literal


class Public(SphinxDirective):
    """A table of public names and an entry for each."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Returns the nodes of the table and of what autodoc writes."""
        room, names = self.arguments[0], [line.strip() for line in self.content if line.strip()]
        missing = [name for name in names if not hasattr(importlib.import_module(room), name)]
        if missing:
            raise self.error(f"{room} has no {', '.join(missing)}")
        lines = [".. list-table::", "   :class: public", ""]
        for name in names:
            summary = _summary(name, getattr(importlib.import_module(room), name))
            lines += [f"   * - :py:obj:`~{room}.{name}`", f"     - {summary}"]
        lines.append("")
        for name in names:
            lines += _entry(room, name)
        return self.parse_text_to_nodes("\n".join(lines))


def _summary(name: str, value: Any) -> str:
    """The first sentence of a docstring, which is its first paragraph."""
    described = inspect.isclass(value) or inspect.isroutine(value)
    lines = inspect.cleandoc(value.__doc__ or "").splitlines() if described else _about(name, value)
    paragraph = itertools.takewhile(str.strip, lines)
    return " ".join(to_rst([" ".join(paragraph)]))


def _entry(room: str, name: str) -> list[str]:
    value = getattr(importlib.import_module(room), name)
    if inspect.isclass(value):
        methods = [own for own, member in vars(value).items() if _is_shown(own, member)]
        members = [f"   :members: {', '.join(methods)}"] if methods else []
        return [f".. autoclass:: {room}.{name}", *members, ""]
    if inspect.isroutine(value):
        return [f".. autofunction:: {room}.{name}", ""]
    about = [f"   {line}" if line else "" for line in to_rst(_about(name, value))]
    return [f".. py:data:: {room}.{name}", "", *about, ""]


def _is_shown(name: str, member: Any) -> bool:
    documented = isinstance(member, (property, classmethod, staticmethod)) or inspect.isfunction(member)
    return documented and bool(inspect.getdoc(member)) and (not name.startswith("_") or name == "__call__")


def _about(name: str, value: Any) -> list[str]:
    """The docstring below the assignment of a constant or an alias, wherever in the package it stands."""
    for module in _modules():
        if vars(module).get(name) is value:
            found = ModuleAnalyzer.for_module(module.__name__).find_attr_docs().get(("", name))
            if found:
                return list(found)
    raise ValueError(f"{name} has no docstring below its assignment")


def _modules() -> list[ModuleType]:
    names = [found.name for found in pkgutil.walk_packages(importlib.import_module(PACKAGE).__path__, f"{PACKAGE}.")]
    return [importlib.import_module(name) for name in names if not name.endswith("_dataset_builder")]


def _process_docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = to_rst(lines)
    if what == "property":
        lines[:0] = ["..", ""]  # a comment, or napoleon takes what stands before a colon for a type


def _process_signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """The signature as it stands in the source."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(obj)))).body[0]
    except (OSError, TypeError, SyntaxError):
        return signature, returns
    if isinstance(tree, ast.FunctionDef):
        if what == "method" and tree.args.args and tree.args.args[0].arg == "self":
            del tree.args.args[0]
        names = vars(sys.modules[inspect.unwrap(obj).__module__])
        tree.args.defaults = [_value(default, names) for default in tree.args.defaults]
        tree.args.kw_defaults = [_value(default, names) for default in tree.args.kw_defaults]
        return f"({ast.unparse(tree.args)})", ast.unparse(tree.returns) if tree.returns else None
    if isinstance(tree, ast.ClassDef):
        fields = [node for node in tree.body if isinstance(node, ast.AnnAssign)]
        return f"({', '.join(map(ast.unparse, fields))})" if fields else None, None
    return signature, returns


def _value(default: Any, names: Mapping[str, Any]) -> Any:
    """A default as it stands, or the number or text of a constant of the module."""
    value = names.get(default.id) if isinstance(default, ast.Name) else None
    return ast.Constant(value) if isinstance(value, int | float | str) else default


def _resolve(app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, contnode: nodes.Element):
    """A link for a public name that is not written in full; None, which is warned of, for one that is nowhere."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"].removesuffix("()")
    public = _public_name(env, target)
    if public is not None:
        found = node.copy()
        found["reftarget"] = public
        domain = env.domains.python_domain
        return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", public, found, contnode)
    ours = target.startswith((f"{PACKAGE}.", "pj."))
    if _is_there(target) if ours else _is_in(node, addnodes.desc_signature) or node["reftype"] == "obj":
        return contnode
    return None


def _public_name(env: BuildEnvironment, target: str) -> str | None:
    """The full name of what a reference means, if a page documents it.

    `plasticity_jax.cells.neurons.Neurons` and ``pj.cells.Neurons`` are looked up by what they are, `Neurons` by its
    ending if only one name has it, and `Info.ready` leads to `Info`.
    """
    objects = env.domains.python_domain.objects.items()
    documented = [name for name, entry in objects if entry.objtype != "module" and not entry.aliased]
    if "." in target and (value := _found(target)) is not None:
        return next((name for name in documented if _found(name) is value), None)
    for ending in (target, target.rpartition(".")[0]):
        names = [name for name in documented if ending and name.endswith(f".{ending}")]
        if len(names) == 1:
            return names[0]
    return None


@functools.cache
def _found(name: str) -> Any:
    """Object of a dotted name of the package; a module may be hidden by a function of its name."""
    name = re.sub(r"^pj\.", f"{PACKAGE}.", name)
    if not name.startswith(f"{PACKAGE}."):
        return None
    with contextlib.suppress(AttributeError):
        return functools.reduce(getattr, name.split(".")[1:], importlib.import_module(PACKAGE))
    home, _, own = name.rpartition(".")
    return getattr(sys.modules.get(home), own, None)


def _is_there(name: str) -> bool:
    """Whether the package has something of a dotted name, be it a module that is not imported."""
    with contextlib.suppress(ModuleNotFoundError):
        return _found(name) is not None or importlib.util.find_spec(name) is not None
    return False


def _is_in(node: nodes.Node, *kinds: type[nodes.Node]) -> bool:
    while node is not None and not isinstance(node, kinds):
        node = node.parent
    return node is not None
