"""The examples run as they are, and their notebooks are those of the scripts."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import cv2
import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
EXAMPLES = ("image", "everything", "video", "live")


def check_picture(path: Path) -> None:
    picture = cv2.imread(str(path))
    assert picture is not None
    assert picture.std() > 20


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_and_leaves_its_picture(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")
    check_picture(tmp_path / "out" / f"{name}.png")
    assert f"see out/{name}.png" in capsys.readouterr().out


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_notebook_runs_and_shows_the_picture(name: str, tmp_path: Path) -> None:
    notebook = nbformat.read(ROOT / "examples" / f"{name}.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    check_picture(tmp_path / "out" / f"{name}.png")
    assert any("image/png" in output.get("data", {}) for output in notebook.cells[-1].outputs)


def test_the_notebooks_are_those_that_the_scripts_give(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "scripts" / "make_notebooks.py", tmp_path], check=True)
    for name in EXAMPLES:
        made, kept = tmp_path / f"{name}.ipynb", ROOT / "examples" / f"{name}.ipynb"
        assert made.read_text() == kept.read_text(), f"{name}.ipynb is out of date: run `make notebooks`"
