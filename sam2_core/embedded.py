"""Where the weights that come with this package lie, however it was installed."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def embedded_weights_path(name: str) -> Path:
    """The weights file of an embedded model.

    A source tree keeps it in `checkpoints/`, and so do an editable install and `colcon build
    --symlink-install`, which point there. Everywhere else setup.py has put the folder's weights below this
    package, as `sam2_core/weights/`.

    Args:
        name: the model's name, such as `sam2_nano`.

    Raises:
        FileNotFoundError: this package carries no such weights; the message names the places.
    """
    places = (
        _PACKAGE / "weights" / f"{name}.safetensors",
        _PACKAGE.parent / "checkpoints" / f"{name}.safetensors",
    )
    for path in places:
        if path.is_file():
            return path
    looked_for = " and ".join(map(str, places))
    raise FileNotFoundError(f"no weights come with the package for {name!r}: looked for {looked_for}")
