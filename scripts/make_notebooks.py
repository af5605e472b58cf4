"""Makes the notebooks of examples/ from the scripts there, whose cells are marked by `# %%`.

    python scripts/make_notebooks.py [FOLDER]      default: examples/

The same scripts give the same bytes: the notebooks carry no outputs, and cells are numbered.
"""

from __future__ import annotations

import sys
from pathlib import Path

import jupytext
import nbformat

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
NAMES = ("image", "everything", "video", "live")
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def main(folder: Path = EXAMPLES) -> None:
    """Writes NAME.ipynb into the folder for every example."""
    for name in NAMES:
        notebook = jupytext.read(EXAMPLES / f"{name}.py", fmt="py:percent")
        notebook.metadata = nbformat.NotebookNode(kernelspec=KERNEL)
        for number, cell in enumerate(notebook.cells):
            cell.id = f"{name}-{number}"
        nbformat.write(notebook, folder / f"{name}.ipynb")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
