"""Windows for people: look at a picture, or click on objects in it. Needs a display and matplotlib."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .masks import PALETTE
from .prompts import Prompt

HELP = "left: object   right: background   drag: box   n: next object   backspace: undo   enter: done"
SMALLEST_DRAG = 5.0
"""Pixels; a shorter drag is a click."""

Preview = Callable[[list[Prompt]], NDArray[np.uint8]]
"""Draws the picture as the prompts make it: uint8 RGB (H, W, 3)."""


class NoDisplayError(OSError):
    """There is no display to open a window on; the message says how to go on."""


WITHOUT_PROMPTS = "give the prompt on the command line, with --point X,Y or --box X0,Y0,X1,Y1"
WITHOUT_SHOW = "leave --show out and save the picture with -o FILE"


def require_display(way_out: str) -> None:
    """Checks that a window could be opened, before anything long is begun.

    Args:
        way_out: what to do instead, for the error.

    Raises:
        NoDisplayError: matplotlib finds no display, or no toolkit for one.
    """
    import matplotlib.pyplot as plt

    backend = plt.get_backend()
    if backend.lower() in ("agg", "pdf", "ps", "svg", "cairo", "template"):
        raise NoDisplayError(
            "there is no display to open a window on, or no toolkit such as PySide6 "
            f"(matplotlib uses {backend}): {way_out}"
        )


def open_figure(way_out: str) -> Any:
    """A matplotlib figure on a real display; see `require_display`."""
    import matplotlib.pyplot as plt

    require_display(way_out)
    return plt.figure()


def show(image: NDArray[np.uint8], title: str) -> None:
    """Shows a picture until the window is closed.

    Args:
        image: uint8 RGB (H, W, 3).
        title: of the window.

    Raises:
        NoDisplayError: there is no display.
    """
    import matplotlib.pyplot as plt

    figure = open_figure(WITHOUT_SHOW)
    _draw(figure, image, title)
    plt.show()


def ask_prompts(image: NDArray[np.uint8], title: str, preview: Preview) -> list[Prompt]:
    """Lets a person click on objects until the window is closed.

    Args:
        image: uint8 RGB (H, W, 3).
        title: of the window.
        preview: called after every click.

    Returns:
        One prompt per object that was clicked on.

    Raises:
        NoDisplayError: there is no display.
    """
    import matplotlib.pyplot as plt

    figure = open_figure(WITHOUT_PROMPTS)
    window = ClickWindow(figure, image, title, preview)
    plt.show()
    return window.prompts


@dataclass
class _Clicks:
    """What has been said of one object."""

    points: list[tuple[float, float, int]] = field(default_factory=list)
    box: tuple[float, float, float, float] | None = None

    def prompt(self, object_id: int) -> Prompt | None:
        if not self.points and self.box is None:
            return None
        points = [point[:2] for point in self.points] or None
        labels = [point[2] for point in self.points] or None
        return Prompt(object_id, points, labels, self.box)


class ClickWindow:
    """Turns mouse and keys on a figure into prompts.

    Args:
        figure: of matplotlib.
        image: uint8 RGB (H, W, 3).
        title: shown above the picture.
        preview: draws the picture after every click.
    """

    def __init__(self, figure: Any, image: NDArray[np.uint8], title: str, preview: Preview) -> None:
        self._figure = figure
        self._image = image
        self._preview = preview
        self._title = title
        self._objects = [_Clicks()]
        self._pressed: tuple[float, float] | None = None
        self._axes, self._picture = _draw(figure, image, f"{title}\n{HELP}")
        self._marks: list[Any] = []
        # matplotlib's own keys (s saves, q closes, p pans) would get in the way
        if figure.canvas.manager is not None:
            figure.canvas.mpl_disconnect(figure.canvas.manager.key_press_handler_id)
        figure.canvas.mpl_connect("button_press_event", self._press)
        figure.canvas.mpl_connect("button_release_event", self._release)
        figure.canvas.mpl_connect("key_press_event", self._key)

    @property
    def prompts(self) -> list[Prompt]:
        """One prompt per object clicked on so far."""
        prompts = (clicks.prompt(number + 1) for number, clicks in enumerate(self._objects))
        return [prompt for prompt in prompts if prompt is not None]

    def _press(self, event: Any) -> None:
        self._pressed = self._place(event)

    def _release(self, event: Any) -> None:
        begin, end = self._pressed, self._place(event)
        self._pressed = None
        if begin is None or end is None or event.button not in (1, 3):
            return
        clicks = self._objects[-1]
        (x0, y0), (x1, y1) = begin, end
        if event.button == 1 and min(abs(x1 - x0), abs(y1 - y0)) >= SMALLEST_DRAG:
            clicks.box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
        else:
            clicks.points.append((x1, y1, 1 if event.button == 1 else 0))
        self._redraw()

    def _key(self, event: Any) -> None:
        if event.key == "n" and self._objects[-1].prompt(1) is not None:
            self._objects.append(_Clicks())
        elif event.key == "backspace":
            self._undo()
        elif event.key in ("enter", "q", "escape"):
            import matplotlib.pyplot as plt

            plt.close(self._figure)

    def _undo(self) -> None:
        clicks = self._objects[-1]
        if clicks.points:
            clicks.points.pop()
        elif clicks.box is not None:
            clicks.box = None
        elif len(self._objects) > 1:
            self._objects.pop()
        self._redraw()

    def _place(self, event: Any) -> tuple[float, float] | None:
        """Where an event is in the picture, in pixels; None outside."""
        if event.inaxes is not self._axes or event.xdata is None:
            return None
        height, width = self._image.shape[:2]
        # matplotlib puts a pixel's centre on whole numbers
        x = min(max(float(event.xdata), 0.0), width - 1.0)
        y = min(max(float(event.ydata), 0.0), height - 1.0)
        return x, y

    def _redraw(self) -> None:
        prompts = self.prompts
        self._picture.set_data(self._preview(prompts) if prompts else self._image)
        for mark in self._marks:
            mark.remove()
        self._marks = []
        for number, clicks in enumerate(self._objects):
            colour = PALETTE[number + 1] / 255
            for x, y, label in clicks.points:
                marker = "o" if label else "X"
                self._marks += self._axes.plot(
                    x, y, marker, color=colour, markeredgecolor="white", markersize=9
                )
            if clicks.box is not None:
                x0, y0, x1, y1 = clicks.box
                self._marks += self._axes.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], "-", color="white")
        self._figure.canvas.draw_idle()


def _draw(figure: Any, image: NDArray[np.uint8], title: str) -> tuple[Any, Any]:
    axes = figure.add_axes((0, 0, 1, 0.9))
    axes.set_axis_off()
    axes.set_title(title)
    return axes, axes.imshow(image)
