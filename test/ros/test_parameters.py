"""Parameters: one table, declared, described, checked, and the same in config/tracker.yaml."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("sam2_ros.interfaces", exc_type=ImportError)

import rclpy
from rclpy.node import Node
from rclpy.parameter import Parameter

from sam2_ros.parameters import ParameterError, Parameters, TrackerSettings, specifications
from sam2_ros.video_node import VideoSettings

CONFIG = Path(__file__).parents[2] / "config" / "tracker.yaml"

DEFAULTS = {
    "model": "sam2_nano",
    "checkpoint": "",
    "device": "auto",
    "image_size": 0,
    "precision": "auto",
    "cameras": ["camera"],
    "image_transport": "raw",
    "max_objects": 16,
    "prompted_frames": 0,
    "memory_frames": 0,
    "object_pointers": 0,
    "memory_policy": "auto",
    "history_seconds": 2.0,
    "overlay_alpha": 0.5,
    "num_threads": 0,
    "compile": False,
}
"""What users rely on."""

Make = Callable[..., tuple[Node, Parameters]]


@pytest.fixture
def declare(ros: None) -> Iterator[Make]:
    """Makes a node with the tracker's parameters, started with some values."""
    nodes = []

    def make(settings: type = TrackerSettings, **given: Any) -> tuple[Node, Parameters]:
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        nodes.append(rclpy.create_node("parameters", parameter_overrides=overrides))
        return nodes[-1], Parameters(nodes[-1], settings)

    yield make
    for node in nodes:
        node.destroy_node()


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def test_the_defaults_are_those_that_users_rely_on() -> None:
    assert {item.name: plain(item.default) for item in specifications(TrackerSettings)} == DEFAULTS


def test_the_parameter_file_holds_every_parameter_with_its_default() -> None:
    given = yaml.safe_load(CONFIG.read_text())["/**"]["ros__parameters"]
    assert given == DEFAULTS
    assert all(type(given[name]) is type(value) for name, value in DEFAULTS.items())


def test_every_parameter_in_the_file_has_a_comment() -> None:
    lines = CONFIG.read_text().splitlines()
    shared = {"memory_frames", "object_pointers"}  # described together with prompted_frames
    for name in DEFAULTS.keys() - shared:
        [number] = [n for n, line in enumerate(lines) if line.strip().startswith(f"{name}:")]
        assert lines[number - 1].strip().startswith("#"), name


@pytest.mark.parametrize("settings", [TrackerSettings, VideoSettings])
def test_everything_is_described_and_numbers_have_ranges(declare: Make, settings: type) -> None:
    node, _ = declare(settings)
    for item in specifications(settings):
        descriptor = node.describe_parameter(item.name)
        assert descriptor.description.endswith("."), item.name
        if isinstance(item.default, bool):
            continue
        if isinstance(item.default, int):
            [span] = descriptor.integer_range
            assert span.from_value <= item.default <= span.to_value
        if isinstance(item.default, float):
            [span] = descriptor.floating_point_range
            assert span.from_value <= item.default <= span.to_value


def test_what_is_given_is_read(declare: Make) -> None:
    _, parameters = declare(cameras=["front", "rear/left"], max_objects=3, overlay_alpha=1.0, compile=True)
    settings = parameters.read()
    assert settings.cameras == ("front", "rear/left")
    assert (settings.max_objects, settings.overlay_alpha, settings.compile) == (3, 1.0, True)


BAD = [
    ("model", "sam3", "'sam3' is unknown: choose one of sam2_nano"),
    ("device", "gpu", "'gpu' is unknown: give auto, cpu"),
    ("image_size", 100, "100 is no multiple of 32"),
    ("image_size", 32, "32 is no multiple of 32 from 64 on"),
    ("image_size", 8192, "8192"),
    ("precision", "int8", "'int8' is unknown: choose one of auto, float32, bfloat16"),
    ("cameras", ["a", "a"], "cameras names one twice: a, a"),
    ("cameras", ["/front"], "'/front', which is no relative topic name"),
    ("cameras", ["1st"], "'1st'"),
    ("cameras", ["c" * 240], "a name of 240 letters: give at most 100"),
    ("cameras", ["caméra"], "'caméra'"),
    ("cameras", [""], "''"),
    ("cameras", ["a//b"], "'a//b'"),
    ("image_transport", "theora", "'theora' is unknown: choose one of raw, compressed"),
    ("max_objects", 0, "0"),
    ("max_objects", 256, "256"),
    ("memory_policy", "lifo", "'lifo' is unknown: choose one of auto, fifo"),
    ("history_seconds", -1.0, "-1"),
    ("overlay_alpha", 1.5, "1.5"),
    ("overlay_alpha", float("nan"), "nan"),
    ("num_threads", -1, "-1"),
]


@pytest.mark.parametrize(("name", "value", "complaint"), BAD)
def test_a_bad_value_is_refused_while_running(declare: Make, name: str, value: Any, complaint: str) -> None:
    node, parameters = declare()
    [result] = node.set_parameters([Parameter(name, value=value)])
    assert not result.successful
    assert complaint in result.reason
    assert plain(getattr(parameters.read(), name)) == DEFAULTS[name]


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        *BAD,
        ("cameras", "front", r"for example [front, rear]"),
        ("overlay_alpha", 1, "Give a number with a decimal point"),
    ],
)
def test_a_bad_value_at_start_is_told_when_it_is_needed(
    declare: Make, name: str, value: Any, complaint: str
) -> None:
    """The node comes up all the same, so that the value can be corrected."""
    node, parameters = declare(**{name: value})
    with pytest.raises(ParameterError) as error:
        parameters.read()
    assert f"parameter {name} is refused" in str(error.value)
    assert complaint in str(error.value)
    [result] = node.set_parameters([Parameter(name, value=DEFAULTS[name])])
    assert result.successful
    assert plain(getattr(parameters.read(), name)) == DEFAULTS[name]
