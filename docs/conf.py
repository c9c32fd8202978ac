"""How Sphinx makes a site of this folder: `python -m sphinx docs docs/_build/html`."""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path[:0] = [str(Path(__file__).parent / "extensions"), str(Path(__file__).parents[1])]

from keras_retinanet import __version__ as release  # noqa: E402

project = "keras_retinanet"
copyright = "the keras_retinanet authors, Apache-2.0"
html_title = f"keras_retinanet {release}"
html_theme = "furo"
html_show_sphinx = False
html_copy_source = False

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "reference"]
exclude_patterns = ["_build"]

# Links to headings, as GitHub names them: file.md#a-heading.
myst_heading_anchors = 3

# Or --option would be printed as –option.
smartquotes = False

# Docstrings are plain text with `code` in it.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
napoleon_use_ivar = True
toc_object_entries = False
maximum_signature_line_length = 80
python_display_short_literal_types = True

# Without a lexer in Pygments, or with elisions that none would take.
suppress_warnings = ["misc.highlighting_failure"]
