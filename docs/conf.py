"""The site: ``python -m sphinx -W --keep-going -b html docs docs/_build/html``, which needs no internet."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

from docutils import nodes

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "plasticity_jax"
copyright = "2026, the authors of plasticity_jax"
author = "The authors of plasticity_jax"
release = version = version_of("plasticity_jax")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "myst_nb",
    "sphinx_copybutton",
    "sphinx_design",
    "elsewhere",  # results and notebooks, which lie outside docs/
    "reference",  # entries of public names, for docs/api
]
exclude_patterns = ["_build", "images", "**/.ipynb_checkpoints"]
nitpicky = True  # docs/_ext/reference.py resolves names that are not written in full, and knows types by their source
default_role = "py:obj"  # a name in single backticks is a link if it is public, and code if not

# API reference
autodoc_typehints = "signature"
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Reference", ("Attributes", "params_style")]
add_module_names = False
python_use_unqualified_type_names = True
maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"

# Markdown
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # CI runs the notebooks in a stage of its own; the site shows what they are stored with

# HTML
html_theme = "sphinx_book_theme"
html_title = "plasticity_jax"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"show_navbar_depth": 1, "show_toc_level": 2, "home_page_in_toc": False, "navbar_persistent": []}
html_show_sourcelink = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def setup(app):
    """Cuts the empty line that a doctest block may end in."""

    def cut(app, doctree):
        for block in doctree.findall(nodes.literal_block):
            if block.rawsource == block.astext():  # otherwise not plain text, nor highlighted
                block.rawsource = block.astext().rstrip()
                block[:] = [nodes.Text(block.rawsource)]

    app.connect("doctree-read", cut)
