"""Clicks in a window become prompts. Without a display the window is driven by matplotlib's own events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.backend_bases import KeyEvent, MouseEvent
from scene import draw, overlap, red_box

from sam2_core import window
from sam2_core.cli import main
from sam2_core.masks import load_id_image
from sam2_core.prompts import Prompt


class Person:
    """Clicks and presses keys on a figure."""

    def __init__(self, figure: Any) -> None:
        self.figure = figure
        figure.canvas.draw()

    def _mouse(self, name: str, x: float, y: float, button: int) -> None:
        px, py = self.figure.axes[0].transData.transform((x, y))
        self.figure.canvas.callbacks.process(name, MouseEvent(name, self.figure.canvas, px, py, button))

    def drag(self, x0: float, y0: float, x1: float, y1: float, button: int = 1) -> None:
        self._mouse("button_press_event", x0, y0, button)
        self._mouse("button_release_event", x1, y1, button)

    def click(self, x: float, y: float, button: int = 1) -> None:
        self.drag(x, y, x, y, button)

    def press(self, key: str) -> None:
        self.figure.canvas.callbacks.process(
            "key_press_event", KeyEvent("key_press_event", self.figure.canvas, key)
        )


@pytest.fixture
def figure() -> Iterator[Any]:
    plt.switch_backend("agg")
    figure = plt.figure()
    yield figure
    plt.close("all")


@pytest.fixture
def previews() -> list[list[Prompt]]:
    return []


@pytest.fixture
def clicked(figure: Any, previews: list[list[Prompt]]) -> tuple[window.ClickWindow, Person]:
    def preview(prompts: list[Prompt]) -> np.ndarray:
        previews.append(prompts)
        return draw(0)

    return window.ClickWindow(figure, draw(0), "picture", preview), Person(figure)


def test_left_clicks_mark_the_object_and_right_clicks_the_background(clicked: Any) -> None:
    opened, person = clicked
    person.click(50, 90)
    person.click(200, 30, button=3)
    (prompt,) = opened.prompts
    assert prompt.points == pytest.approx(np.array([[50, 90], [200, 30]]), abs=1)
    assert prompt.labels.tolist() == [1, 0]


def test_a_drag_makes_a_box_whichever_corner_comes_first(clicked: Any) -> None:
    opened, person = clicked
    person.drag(80, 120, 20, 60)
    (prompt,) = opened.prompts
    assert prompt.box == pytest.approx(np.array([20, 60, 80, 120]), abs=1)
    assert prompt.points is None


def test_n_begins_the_next_object_once_the_last_one_was_shown(clicked: Any) -> None:
    opened, person = clicked
    person.press("n")
    person.click(50, 90)
    person.press("n")
    person.press("n")
    person.click(240, 40)
    assert [prompt.object_id for prompt in opened.prompts] == [1, 2]


def test_backspace_takes_back_what_was_said_last(clicked: Any) -> None:
    opened, person = clicked
    person.drag(20, 60, 80, 120)
    person.click(50, 90)
    person.press("backspace")
    assert opened.prompts[0].points is None
    person.press("backspace")
    assert opened.prompts == []
    person.press("backspace")


def test_every_click_is_previewed(clicked: Any, previews: list[list[Prompt]]) -> None:
    _, person = clicked
    person.click(50, 90)
    person.click(60, 90)
    assert [len(prompts[0].points) for prompts in previews] == [1, 2]


def test_clicks_beside_the_picture_say_nothing(clicked: Any, figure: Any) -> None:
    opened, _ = clicked
    name = "button_press_event"
    figure.canvas.callbacks.process(name, MouseEvent(name, figure.canvas, 1, figure.bbox.height - 1, 1))
    assert opened.prompts == []


def test_enter_closes_the_window(clicked: Any, figure: Any) -> None:
    _, person = clicked
    person.press("enter")
    assert not plt.fignum_exists(figure.number)


def test_without_a_display_the_error_says_how_to_go_on(figure: Any) -> None:
    with pytest.raises(window.NoDisplayError, match=r"no display .*save the picture with -o FILE"):
        window.show(draw(0), "picture")


@pytest.mark.parametrize("command", ["image", "track"])
def test_without_prompts_the_commands_ask_for_clicks(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Any
) -> None:
    x_min, y_min, x_max, y_max = red_box(0)

    def act() -> None:  # stands for the person before the open window
        Person(figure).drag(x_min, y_min, x_max, y_max)

    monkeypatch.setattr(window, "require_display", lambda way_out: None)
    monkeypatch.setattr(window, "open_figure", lambda way_out: figure)
    monkeypatch.setattr(plt, "show", act)
    frames = tmp_path / "frames"
    frames.mkdir()
    cv2.imwrite(str(frames / "00000.png"), draw(0)[..., ::-1])
    if command == "image":
        arguments, ids = [str(frames / "00000.png"), "--ids", str(tmp_path / "ids.png")], tmp_path / "ids.png"
    else:
        arguments, ids = [str(frames), "--masks", str(tmp_path / "masks")], tmp_path / "masks" / "00000.png"
    assert main([command, *arguments]) == 0
    assert overlap(load_id_image(ids) == 1, red_box(0)) > 0.5
