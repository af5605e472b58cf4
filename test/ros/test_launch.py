"""The launch file and the RViz layout: read everywhere, run where launch is installed."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

pytest.importorskip("sam2_ros.interfaces", exc_type=ImportError)

from ros_graph import PATIENCE, Client
from sensor_msgs.msg import Image

from sam2_ros.parameters import TrackerSettings, specifications

ROOT = Path(__file__).parents[2]
LAUNCH_FILE = ROOT / "launch" / "tracker.launch.py"
PARAMETERS = {item.name for item in specifications(TrackerSettings)}


def launch_is_missing() -> str:
    """Why the launch file cannot be run here, or nothing."""
    try:
        from ament_index_python.packages import get_package_prefix

        import launch

        launch.LaunchDescription  # noqa: B018  the repository's folder launch/ is importable as well
        import launch_ros  # noqa: F401

        if not (Path(get_package_prefix("sam2_ros")) / "lib" / "sam2_ros" / "tracker_node").is_file():
            return "sam2_ros is not installed by colcon"
    except (ImportError, AttributeError, LookupError) as error:
        return f"launch, launch_ros or an installed sam2_ros is missing ({error})"
    return ""


runs_launch = pytest.mark.skipif(bool(launch_is_missing()), reason=launch_is_missing())


class Recorder:
    """Stands for anything of launch: remembers how it was called."""

    made: list[tuple[str, tuple, dict]]

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[str, tuple, dict]:
        return self.name, args, kwargs


@pytest.fixture
def description(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The launch file as a module, over stand-ins that record what it asks launch for."""
    tree = ast.parse(LAUNCH_FILE.read_text())
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("launch", "launch_ros"):
            stand_in = types.ModuleType(node.module or "")
            for name in node.names:
                setattr(stand_in, name.name, Recorder(name.name))
            monkeypatch.setitem(sys.modules, node.module or "", stand_in)
    module = types.ModuleType("tracker_launch")
    module.__file__ = str(LAUNCH_FILE)
    exec(compile(tree, str(LAUNCH_FILE), "exec"), module.__dict__)
    return module


def arguments(description: types.ModuleType) -> dict[str, dict]:
    _, (actions,), _ = description.generate_launch_description()
    return {args[0]: options for kind, args, options in actions if kind == "DeclareLaunchArgument"}


def actions_for(description: types.ModuleType, **given: str) -> list[tuple[str, tuple, dict]]:
    """What is launched with these arguments."""
    defaults = {name: options["default_value"] for name, options in arguments(description).items()}
    unknown = given.keys() - defaults.keys()
    assert not unknown
    context = types.SimpleNamespace(launch_configurations={**defaults, **given})
    return description.launch_nodes(context)


def test_every_parameter_is_an_argument_with_a_description(description: types.ModuleType) -> None:
    declared = arguments(description)
    others = {"namespace", "params_file", "image_topics", "autostart", "use_sim_time", "log_level"}
    stand_in = {"video", "video_rate", "video_loop", "rviz"}
    assert declared.keys() == PARAMETERS | others | stand_in
    assert all(options["description"].endswith(".") for options in declared.values())
    assert all(declared[name]["default_value"] == "" for name in PARAMETERS)


def test_without_arguments_only_the_node_is_started(description: types.ModuleType) -> None:
    actions = actions_for(description)
    nodes = [options for kind, _, options in actions if kind in ("LifecycleNode", "Node")]
    assert [(n["package"], n["executable"], n["name"], n["namespace"]) for n in nodes] == [
        ("sam2_ros", "tracker_node", "sam2", "")
    ]
    params_file, given, _ = nodes[0]["parameters"]
    assert Path(params_file).is_file()
    assert given == {}


def test_arguments_become_parameters_of_their_types(description: types.ModuleType) -> None:
    given = description.tracker_parameters(
        {
            **dict.fromkeys(PARAMETERS, ""),
            "cameras": "[front, rear]",
            "overlay_alpha": "1",
            "max_objects": "3",
            "compile": "true",
            "device": "0",
        }
    )
    kind, args, options = given.pop("device")
    assert (kind, args, options) == ("ParameterValue", ("0",), {"value_type": str})
    assert given == {"cameras": ["front", "rear"], "overlay_alpha": 1.0, "max_objects": 3, "compile": True}
    assert type(given["overlay_alpha"]) is float


def test_one_camera_needs_no_list(description: types.ModuleType) -> None:
    given = description.tracker_parameters({**dict.fromkeys(PARAMETERS, ""), "cameras": "front"})
    assert given == {"cameras": ["front"]}


def test_activation_follows_configuring_only(description: types.ModuleType) -> None:
    """Whoever deactivates the node wants it to stay so: `inactive` is reached that way, too."""
    handlers = [args[0] for kind, args, _ in actions_for(description) if kind == "RegisterEventHandler"]
    pairs = {(h[2]["start_state"], h[2]["goal_state"]) for h in handlers if h[0] == "OnStateTransition"}
    assert pairs == {("configuring", "inactive"), ("configuring", "unconfigured")}


def test_a_manager_may_do_the_configuring(description: types.ModuleType) -> None:
    kinds = [kind for kind, _, _ in actions_for(description, autostart="false")]
    assert kinds == ["LifecycleNode"]


def test_the_camera_stand_in_and_rviz_follow_the_first_camera(description: types.ModuleType) -> None:
    actions = actions_for(
        description, cameras="[front, rear]", namespace="robot", video="street.mp4", rviz="true"
    )
    video, rviz = [options for kind, _, options in actions if kind == "Node"]
    assert (video["executable"], video["namespace"]) == ("video_publisher", "/robot/front")
    assert ("/camera/sam2/overlay", "/robot/front/sam2/overlay") in rviz["remappings"]
    assert Path(rviz["arguments"][1]).is_file()


def cameras_of(description: types.ModuleType, **given: str) -> str:
    """The name of the camera that the video is published as."""
    [video] = [options for kind, _, options in actions_for(description, video="0", **given) if kind == "Node"]
    return str(video["namespace"])


@pytest.mark.parametrize(
    ("namespace", "content", "expected"),
    [
        ("", {"/**": {"ros__parameters": {"cameras": ["front"]}}}, "front"),
        ("", {"sam2": {"ros__parameters": {"cameras": ["front", "rear"]}}}, "front"),
        ("robot", {"/robot/sam2": {"ros__parameters": {"cameras": ["front"]}}}, "/robot/front"),
        ("robot", {"robot": {"sam2": {"ros__parameters": {"cameras": ["front"]}}}}, "/robot/front"),
        ("robot", {"/**/sam2": {"ros__parameters": {"cameras": ["front"]}}}, "/robot/front"),
        ("robot", {"/*/sam2": {"ros__parameters": {"cameras": ["front"]}}}, "/robot/front"),
        ("a/b", {"/*/sam2": {"ros__parameters": {"cameras": ["front"]}}}, "/a/b/camera"),
        ("", {"driver": {"ros__parameters": {"cameras": ["lidar"]}}}, "camera"),
        ("", {"driver": {"ros__parameters": {"cameras": 2}}}, "camera"),
        ("", {"sam2": {"ros__parameters": {"cameras": "front"}}}, "camera"),
        ("", {"sam2": None}, "camera"),
        ("", None, "camera"),
    ],
)
def test_the_first_camera_is_the_one_that_the_node_reads_from_the_file(
    description: types.ModuleType, tmp_path: Path, namespace: str, content: object, expected: str
) -> None:
    path = tmp_path / "parameters.yaml"
    path.write_text(yaml.safe_dump(content))
    assert cameras_of(description, namespace=namespace, params_file=str(path)) == expected


def test_images_may_come_under_other_names(description: types.ModuleType) -> None:
    given = {"cameras": "[front, rear]", "image_topics": "[/zed/left/image_rect_color, cam1/image]"}
    [node] = [options for kind, _, options in actions_for(description, **given) if "Node" in kind]
    assert dict(node["remappings"]) == {
        "front/image_raw": "/zed/left/image_rect_color",
        "front/image_raw/compressed": "/zed/left/image_rect_color/compressed",
        "rear/image_raw": "cam1/image",
        "rear/image_raw/compressed": "cam1/image/compressed",
    }
    [node] = [o for kind, _, o in actions_for(description, image_topics="/image_raw") if "Node" in kind]
    assert node["remappings"][0] == ("camera/image_raw", "/image_raw")
    [node] = [options for kind, _, options in actions_for(description) if "Node" in kind]
    assert node["remappings"] == []


def test_a_parameter_file_may_lie_at_home(
    description: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.yaml").write_text("sam2: {ros__parameters: {cameras: [front]}}")
    monkeypatch.setenv("HOME", str(tmp_path))
    [node] = [o for kind, _, o in actions_for(description, params_file="~/mine.yaml") if "Node" in kind]
    assert node["parameters"][0] == str(tmp_path / "mine.yaml")
    assert cameras_of(description, params_file="~/mine.yaml") == "front"


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"autostart": "ture"}, "argument autostart is 'ture': give true or false"),
        ({"rviz": "maybe"}, "argument rviz is 'maybe': give true or false"),
        ({"use_sim_time": "si"}, "argument use_sim_time is 'si': give true or false"),
        ({"video": "0", "video_loop": "2"}, "argument video_loop is '2': give true or false"),
        ({"video": "0", "video_rate": "fast"}, "argument video_rate is 'fast': give a number"),
        ({"cameras": "[]"}, "argument cameras is '[]': give at least one"),
        ({"cameras": "[front"}, "argument cameras is '[front', which is no YAML"),
        ({"video": "0", "image_transport": "compressed"}, "leave out image_transport compressed, or video"),
        (
            {"image_topics": "[/a, /b]"},
            "argument image_topics is '[/a, /b]' for the cameras camera: give one",
        ),
        ({"video": "0", "image_topics": "[/a]"}, "leave out image_topics, or video"),
        ({"params_file": "/nowhere/a.yaml"}, "params_file /nowhere/a.yaml can't be read: No such file"),
        ({"params_file": "/"}, "params_file / can't be read: Is a directory"),
    ],
)
def test_an_argument_that_cannot_be_followed_is_named_with_the_way_out(
    description: types.ModuleType, given: dict, complaint: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        actions_for(description, **given)


def test_a_parameter_file_that_is_no_yaml_is_named(description: types.ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "parameters.yaml"
    for content in (b"sam2: [", b"\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"params_file {re.escape(str(path))} can't be read: "):
            actions_for(description, params_file=str(path))


@pytest.mark.parametrize(("given", "expected"), [("", {}), ("true", {"use_sim_time": True})])
def test_simulated_time_is_left_to_the_file_unless_it_is_given_and_then_it_is_everyones(
    description: types.ModuleType, given: str, expected: dict
) -> None:
    actions = actions_for(description, video="0", rviz="true", use_sim_time=given)
    nodes = [options for kind, _, options in actions if kind in ("LifecycleNode", "Node")]
    assert len(nodes) == 3
    assert all(options["parameters"][-1] == expected for options in nodes)


def test_the_executables_are_those_of_the_package(description: types.ModuleType) -> None:
    entry_points = (ROOT / "setup.py").read_text()
    actions = actions_for(description, video="street.mp4")
    for kind, _, options in actions:
        if kind in ("Node", "LifecycleNode"):
            assert f'"{options["executable"]} = sam2_ros.{options["executable"]}:main"' in entry_points


def test_the_rviz_layout_shows_what_the_node_publishes() -> None:
    layout = yaml.safe_load((ROOT / "rviz" / "sam2.rviz").read_text())
    displays = layout["Visualization Manager"]["Displays"]
    assert {d["Class"] for d in displays} == {"rviz_default_plugins/Image"}
    assert {d["Topic"]["Value"] for d in displays} == {"/camera/sam2/overlay", "/camera/sam2/mask"}
    assert all(d["Topic"]["Reliability Policy"] == "Reliable" for d in displays)


RUN = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
given = [tuple(item.split(":=", 1)) for item in sys.argv[2:]]
source = PythonLaunchDescriptionSource(sys.argv[1])
service = LaunchService(argv=sys.argv[2:])
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments=given)])
)
sys.exit(service.run())
"""


@pytest.fixture
def run(ros: None, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen]]:
    """Runs the launch file as `ros2 launch` does; it must end cleanly on SIGINT."""
    processes = []

    def run(*given: str) -> subprocess.Popen:
        # outside of the repository, where launch/ would be taken for the package launch
        with (tmp_path / "log").open("w") as log:
            command = [sys.executable, "-c", RUN, str(LAUNCH_FILE), *given]
            processes.append(
                subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True)
            )
        return processes[-1]

    yield run
    for process in processes:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        code = process.wait(PATIENCE)
        log = (tmp_path / "log").read_text()
        assert code == 0, log
        assert "Traceback" not in log
        assert "SIGTERM" not in log
        assert "process has finished cleanly" in log


@runs_launch
def test_launching_brings_the_node_up_active_and_it_may_be_deactivated(
    run: Callable[..., subprocess.Popen], client: Client, frame: Callable[[int], np.ndarray], tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / "image.png"), frame(0)[..., ::-1])
    run("cameras:=[front]", "namespace:=robot", "image_size:=128", "device:=cpu", f"video:={tmp_path}")
    masks = client.collect(Image, "/robot/front/sam2/mask")
    client.wait_until(lambda: masks, "a mask of the camera stand-in")
    assert client.state("/robot/sam2") == "active"
    assert client.change_state("deactivate", "/robot/sam2")
    seen = len(masks)
    assert client.state("/robot/sam2") == "inactive"
    assert client.change_state("activate", "/robot/sam2")
    client.wait_until(lambda: len(masks) > seen, "masks after activating again")


@runs_launch
def test_a_failure_to_configure_is_told_and_can_be_repaired(
    run: Callable[..., subprocess.Popen], client: Client, tmp_path: Path
) -> None:
    run("checkpoint:=/nowhere/weights.pt", "image_size:=128", "device:=cpu")
    log = tmp_path / "log"
    client.wait_until(lambda: "/sam2 could not be configured" in log.read_text(), "the advice")
    assert "/nowhere/weights.pt: no such file" in log.read_text()
    assert client.state() == "unconfigured"
    assert client.set_parameter("checkpoint", "").successful
    assert client.change_state("configure")
    client.wait_until(lambda: client.state() == "active", "activation")
