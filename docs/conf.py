"""Sphinx configuration: `make docs`."""

from importlib.metadata import version as installed

project = "Endoscope"
author = "The Endoscope developers"
release = version = installed("endoscope")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "Endoscope"

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_class_signature = "separated"
napoleon_google_docstring = True
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
