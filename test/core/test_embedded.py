"""The weights that come with the package are found in each of the places where an installation puts them."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from safetensors import safe_open

from sam2_core import embedded

SMALL_ENOUGH = 10_000_000  # bytes; the file lies in git


@pytest.fixture
def elsewhere(tmp_path: Path) -> ModuleType:
    """`sam2_core.embedded`, as it is when the package lies in a folder of its own, without weights so far."""
    (tmp_path / "sam2_core").mkdir()
    copy = shutil.copy(embedded.__file__, tmp_path / "sam2_core")
    spec = importlib.util.spec_from_file_location("embedded_elsewhere", copy)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_embedded_model_comes_along_and_is_small() -> None:
    path = embedded.embedded_weights_path("sam2_nano")
    assert path.stat().st_size <= SMALL_ENOUGH
    with safe_open(path, framework="pt") as weights:
        assert "mask_decoder" in " ".join(weights.keys())


@pytest.mark.parametrize("place", ["checkpoints", "sam2_core/weights"])
def test_weights_are_found_in_a_source_tree_and_in_an_installation(
    elsewhere: ModuleType, tmp_path: Path, place: str
) -> None:
    weights = tmp_path / place / "sam2_nano.safetensors"
    weights.parent.mkdir()
    weights.touch()
    assert elsewhere.embedded_weights_path("sam2_nano") == weights


def test_a_name_without_weights_is_refused_with_the_places_that_were_searched(
    elsewhere: ModuleType, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError) as error:
        elsewhere.embedded_weights_path("sam2_nano")
    message = str(error.value)
    assert "'sam2_nano'" in message
    assert str(tmp_path / "checkpoints" / "sam2_nano.safetensors") in message
