"""Weights load strictly or say why not."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sam2_core import checkpoints
from sam2_core.checkpoints import CheckpointError, load_state_dict, load_weights, recognise

SHAPES = Path(__file__).parent.parent / "reference" / "state_dict_shapes.json"


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.second = nn.Linear(4, 2)


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    return {name: torch.rand_like(tensor) for name, tensor in Small().state_dict().items()}


def as_published(path: Path, state: dict[str, torch.Tensor]) -> Path:
    torch.save({"model": state}, path)
    return path


@pytest.mark.parametrize("form", ["published", "bare", "safetensors"])
def test_every_form_loads_whatever_the_file_is_called(form: str, state: dict, tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    if form == "safetensors":
        save_file(state, path)
    else:
        torch.save({"model": state} if form == "published" else state, path)
    model = Small()
    load_weights(model, path)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_half_precision_weights_fill_a_float32_model(state: dict, tmp_path: Path) -> None:
    save_file({name: tensor.half() for name, tensor in state.items()}, tmp_path / "half.safetensors")
    model = Small()
    load_weights(model, tmp_path / "half.safetensors")
    assert model.first.weight.dtype == torch.float32
    assert torch.allclose(model.first.weight, state["first.weight"], atol=1e-3)


def test_a_missing_file_is_named_with_the_way_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as error:
        load_state_dict(tmp_path / "sam2.1_hiera_small.pt")
    message = str(error.value)
    assert str(tmp_path / "sam2.1_hiera_small.pt") in message
    assert 'expected a PyTorch file holding {"model": state_dict}' in message
    assert "`sam2 download sam2.1_hiera_small`" in message
    assert "092824/sam2.1_hiera_small.pt (184,416,285 bytes)" in message


@pytest.mark.parametrize("form", ["published", "safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_a_truncated_file_is_refused(form: str, share: float, state: dict, tmp_path: Path) -> None:
    path = tmp_path / "sam2_hiera_tiny.pt"
    big = {**state, "padding": torch.zeros(10_000)}
    save_file(big, path) if form == "safetensors" else as_published(path, big)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(CheckpointError, match=r"sam2_hiera_tiny.pt: .*`sam2 download sam2_hiera_tiny`"):
        load_state_dict(path)


@pytest.mark.parametrize(
    "content", [b"", b"<html>log in</html>", b"\x89PNG\r\n\x1a\n" + bytes(99), bytes(4096)]
)
def test_a_foreign_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weights.pt"):
        load_state_dict(tmp_path / "weights.pt")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        load_state_dict(tmp_path)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3, "optimizer": {}}, {}, "text", {"model": {}}])
def test_a_pytorch_file_without_weights_says_what_it_holds(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"other.pt: holds .*; expected"):
        load_state_dict(tmp_path / "other.pt")


class Attack:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("attacked"),))


@pytest.mark.parametrize("save", ["torch", "pickle"])
def test_code_in_a_file_is_never_run(save: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if save == "torch":
        torch.save({"model": Attack()}, "weights.pt")
    else:
        Path("weights.pt").write_bytes(pickle.dumps({"model": Attack()}))
    with pytest.raises(CheckpointError, match="something other than plain weights"):
        load_state_dict("weights.pt")
    assert not Path("attacked").exists()


def test_weights_that_do_not_fit_are_counted_and_named_and_nothing_is_loaded(
    state: dict, tmp_path: Path
) -> None:
    del state["first.bias"]
    state["second.weight"] = torch.zeros(9, 9)
    state |= {f"extra.{i}": torch.zeros(1) for i in range(6)}
    model = Small()
    before = model.second.bias.clone()
    with pytest.raises(CheckpointError) as error:
        load_weights(model, as_published(tmp_path / "w.pt", state), "small_model")
    assert "do not fit small_model: 1 missing (first.bias)" in str(error.value)
    assert "6 unexpected (extra.0, extra.1, extra.2, extra.3, ...)" in str(error.value)
    assert "1 of another shape (second.weight: (9, 9) instead of (2, 4))" in str(error.value)
    assert torch.equal(model.second.bias, before)


def test_the_weights_of_another_official_model_are_recognised() -> None:
    published = json.loads(SHAPES.read_text())
    assert set(published) == set(checkpoints.OFFICIAL)
    for name, shapes in published.items():
        assert recognise({key: torch.empty(shape, device="meta") for key, shape in shapes.items()}) == name


def test_the_wrong_model_s_weights_are_called_by_their_name(tmp_path: Path) -> None:
    shapes = json.loads(SHAPES.read_text())["sam2.1_hiera_small"]
    # One number spread over every tensor keeps the file small.
    state = {key: torch.zeros(1).expand(shape) for key, shape in shapes.items()}
    path = as_published(tmp_path / "sam2.1_hiera_tiny.pt", state)
    with pytest.raises(CheckpointError, match=r"This looks like sam2.1_hiera_small"):
        load_weights(Small(), path, "sam2.1_hiera_tiny")


def test_the_first_segment_anything_is_recognised() -> None:
    assert "SAM 1" in (recognise({"image_encoder.patch_embed.proj.weight": torch.zeros(1)}) or "")


def test_the_embedded_model_is_found_by_name() -> None:
    path = checkpoints.require_checkpoint("sam2_nano")
    assert path.name == "sam2_nano.safetensors"
    assert recognise(load_state_dict(path)) == "sam2_nano"


def test_a_file_in_the_cache_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM2_CACHE", str(tmp_path))
    monkeypatch.setattr(checkpoints, "source_checkpoints", lambda: None)
    with pytest.raises(CheckpointError, match="no such file; expected the weights of sam2_hiera_large"):
        checkpoints.require_checkpoint("sam2_hiera_large", download=False)
    (tmp_path / "sam2_hiera_large.safetensors").touch()
    assert checkpoints.require_checkpoint("sam2_hiera_large") == tmp_path / "sam2_hiera_large.safetensors"


def test_a_named_file_goes_before_all_others(tmp_path: Path) -> None:
    (tmp_path / "mine.pt").touch()
    assert checkpoints.require_checkpoint("sam2_nano", tmp_path / "mine.pt") == tmp_path / "mine.pt"
    with pytest.raises(CheckpointError, match=r"gone.pt: no such file; expected the weights of sam2_nano"):
        checkpoints.require_checkpoint("sam2_nano", tmp_path / "gone.pt")


def test_an_installed_package_downloads_to_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM2_CACHE", str(tmp_path))
    monkeypatch.setattr(checkpoints, "source_checkpoints", lambda: None)
    assert checkpoints.download_directory() == tmp_path


def test_a_source_tree_downloads_to_its_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "source_checkpoints", lambda: tmp_path / "checkpoints")
    assert checkpoints.download_directory() == tmp_path / "checkpoints"
