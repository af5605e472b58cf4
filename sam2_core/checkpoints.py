"""Weights: which files there are, where they lie, and how they get into a model.

Nothing here runs code out of a file: PyTorch files are read with `weights_only=True`, everything else as
safetensors.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from .embedded import embedded_weights_path
from .paths import expanded

StateDict = dict[str, Tensor]

PUBLISHER = "https://dl.fbaipublicfiles.com/segment_anything_2"
"""Where the official files are published; $SAM2_MIRROR replaces it (same folders below it)."""

SHOWN_NAMES = 4
"""How many tensor names of a kind an error message lists before it only counts."""


class CheckpointError(RuntimeError):
    """Weights are missing, damaged, or not those of the model; the message names file and way out."""


@dataclass(frozen=True)
class OfficialFile:
    """One of the weights files published with SAM 2 and SAM 2.1.

    Attributes:
        name: the model's name, also in `load_model`.
        folder: the release's folder at the publisher.
        size: of the file, in bytes.
        sha256: of the file, in hexadecimal.
    """

    name: str
    folder: str
    size: int
    sha256: str

    @property
    def filename(self) -> str:
        return f"{self.name}.pt"

    @property
    def url(self) -> str:
        publisher = os.environ.get("SAM2_MIRROR") or PUBLISHER
        return f"{publisher.rstrip('/')}/{self.folder}/{self.filename}"


# Where the sizes and digests come from is told in checkpoints/README.md.
_PUBLISHED = (
    ("sam2_hiera_tiny", "072824", 155_906_050,
     "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125"),
    ("sam2_hiera_small", "072824", 184_309_650,
     "95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3"),
    ("sam2_hiera_base_plus", "072824", 323_493_298,
     "d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071"),
    ("sam2_hiera_large", "072824", 897_952_466,
     "7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b"),
    ("sam2.1_hiera_tiny", "092824", 156_008_466,
     "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69"),
    ("sam2.1_hiera_small", "092824", 184_416_285,
     "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38"),
    ("sam2.1_hiera_base_plus", "092824", 323_606_802,
     "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5"),
    ("sam2.1_hiera_large", "092824", 898_083_611,
     "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318"),
)  # fmt: skip

OFFICIAL: dict[str, OfficialFile] = {row[0]: OfficialFile(*row) for row in _PUBLISHED}


def source_checkpoints() -> Path | None:
    """The folder `checkpoints/` of the source tree this code runs from; None where it is installed."""
    root = Path(__file__).resolve().parent.parent
    return root / "checkpoints" if (root / "pyproject.toml").is_file() else None


def cache_directory() -> Path:
    """$SAM2_CACHE, or ~/.cache/sam2."""
    return expanded(os.environ.get("SAM2_CACHE") or Path.home() / ".cache" / "sam2")


def download_directory() -> Path:
    """Where downloads go: `checkpoints/` of a source tree that can be written to, else the cache."""
    source = source_checkpoints()
    if source is not None and os.access(source if source.exists() else source.parent, os.W_OK):
        return source
    return cache_directory()


def find_checkpoint(name: str) -> Path | None:
    """A model's weights: embedded in the package, in `checkpoints/` of a source tree, or in the cache."""
    try:
        return embedded_weights_path(name)
    except FileNotFoundError:
        pass  # not one of the embedded models
    for folder in (source_checkpoints(), cache_directory()):
        for suffix in (".pt", ".safetensors"):
            if folder is not None and (path := folder / f"{name}{suffix}").is_file():
                return path
    return None


def require_checkpoint(name: str, checkpoint: str | Path | None = None, download: bool = True) -> Path:
    """The path of a model's weights, fetched from the publisher if they are official and lie nowhere here.

    Args:
        name: the model's name.
        checkpoint: a file to use instead of looking for one.
        download: whether a missing official file may be downloaded; the log says what comes from where.

    Raises:
        CheckpointError: there is no such file, and it could not be had.
    """
    if checkpoint:
        path = expanded(checkpoint)
        if not path.is_file():
            what = "is a folder, no file" if path.is_dir() else "no such file"
            raise CheckpointError(f"{path}: {what}; expected the weights of {name}. {how_to_get(name)}")
        return path
    found = find_checkpoint(name)
    if found is not None:
        return found
    if download and name in OFFICIAL:
        from .download import download_checkpoint

        return download_checkpoint(name)
    path = download_directory() / f"{name}.pt"
    raise CheckpointError(f"{path}: no such file; expected the weights of {name}. {how_to_get(name)}")


def how_to_get(name: str) -> str:
    """One sentence on how to come by a model's weights."""
    official = OFFICIAL.get(name)
    if official is None:
        return f"The weights of {name} come with this project: install it anew, or name a file of them."
    return (
        f"Get them with `sam2 download {name}`, or fetch {official.url} ({official.size:,} bytes) "
        f"and put it at {download_directory() / official.filename}."
    )


def load_state_dict(path: str | Path) -> StateDict:
    """Reads a file of weights into tensors on the CPU.

    Takes the published format (a PyTorch file holding `{"model": state_dict}`), a bare state dict, and
    safetensors; the content tells which, not the file's name.

    Raises:
        CheckpointError: the file is missing, truncated, or something else.
    """
    path = Path(path)
    expected = 'expected a PyTorch file holding {"model": state_dict} or a safetensors file'
    advice = (
        how_to_get(path.stem) if path.stem in OFFICIAL else "Get an official one with `sam2 download NAME`."
    )
    try:
        with path.open("rb") as file:
            head = file.read(9)
        content = _reader(head)(path)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise CheckpointError(f"{path}: no such file; {expected}. {advice}") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: holds something other than plain weights; {expected}. {advice}"
        ) from error
    except Exception as error:  # a damaged file can make the readers stumble in any way
        raise CheckpointError(f"{path}: {_damage(path)}; {expected}. {advice}") from error
    state = content.get("model", content) if isinstance(content, Mapping) else content
    if (
        not isinstance(state, Mapping)
        or not state
        or not all(isinstance(value, Tensor) for value in state.values())
    ):
        found = (
            f"the entries {_some(map(str, content))}"
            if isinstance(content, Mapping)
            else type(content).__name__
        )
        raise CheckpointError(f"{path}: holds {found}; {expected}. {advice}")
    return dict(state)


def _reader(head: bytes) -> Callable[[Path], Any]:
    """The function that reads a file beginning with these bytes."""
    if head[:4] == b"PK\x03\x04":
        return lambda path: torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if head[8:9] == b"{":  # safetensors: the header's length in eight bytes, then the header, a JSON object
        return lambda path: load_file(path, device="cpu")
    return lambda path: torch.load(path, map_location="cpu", weights_only=True)


def _damage(path: Path) -> str:
    size = path.stat().st_size
    official = OFFICIAL.get(path.stem)
    if size == 0:
        return "the file is empty"
    if official is not None and path.suffix == ".pt" and size != official.size:
        return f"truncated or damaged ({size:,} bytes instead of {official.size:,})"
    return f"truncated, damaged or no file of weights ({size:,} bytes)"


def load_weights(model: nn.Module, path: str | Path, name: str = "the model") -> None:
    """Loads a file of weights into a model, strictly: every tensor present, none left over, all shapes equal.

    Raises:
        CheckpointError: the file cannot be read, or does not fit; nothing has been loaded then.
    """
    state = load_state_dict(path)
    own = model.state_dict()
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    misshapen = [
        f"{key}: {tuple(state[key].shape)} instead of {tuple(tensor.shape)}"
        for key, tensor in own.items()
        if key in state and state[key].shape != tensor.shape
    ]
    if missing or unexpected or misshapen:
        differences = [
            f"{len(names)} {kind} ({_some(names)})"
            for kind, names in (
                ("missing", missing),
                ("unexpected", unexpected),
                ("of another shape", misshapen),
            )
            if names
        ]
        recognised = recognise(state)
        guess = f" This looks like {recognised}." if recognised and recognised != name else ""
        raise CheckpointError(
            f"{path}: the tensors do not fit {name}: {', '.join(differences)}.{guess} {how_to_get(name)}"
        )
    model.load_state_dict(state, strict=True)


def _some(names: Any) -> str:
    names = list(names)
    return ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")


def recognise(state: Mapping[str, Tensor]) -> str | None:
    """Which model a state dict belongs to, judged by the trunk's width and depth; None for an unknown one."""
    embedding = state.get("image_encoder.trunk.patch_embed.proj.weight")
    if embedding is None:
        if "image_encoder.patch_embed.proj.weight" in state:
            return "the first Segment Anything (SAM 1), which this project does not run"
        no_memory = state.get("no_mem_embed")
        return "sam2_nano" if no_memory is not None and no_memory.shape[-1] == 128 else None
    prefix = "image_encoder.trunk.blocks."
    depth = len({key[len(prefix) :].split(".")[0] for key in state if key.startswith(prefix)})
    size = {(96, 12): "tiny", (96, 16): "small", (112, 24): "base_plus", (144, 48): "large"}.get(
        (int(embedding.shape[0]), depth)
    )
    if size is None:
        return None
    # Only SAM 2.1 projects the object pointers' temporal positions.
    release = "sam2.1" if "obj_ptr_tpos_proj.weight" in state else "sam2"
    return f"{release}_hiera_{size}"
