"""Brings the node sam2 up, configured and active; on request with a camera stand-in and RViz.

    ros2 launch sam2_ros tracker.launch.py cameras:=[front,rear] model:=sam2.1_hiera_tiny
    ros2 launch sam2_ros tracker.launch.py cameras:=[front] image_topics:=[/zed/left/image_rect_color]
    ros2 launch sam2_ros tracker.launch.py video:=street.mp4 rviz:=true

Every parameter of the node is an argument. One that is not given keeps its value from params_file.
"""

import re
from pathlib import Path

import yaml
from launch.actions import DeclareLaunchArgument, EmitEvent, LogInfo, OpaqueFunction, RegisterEventHandler
from launch.events import matches_action
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import ParameterValue
from lifecycle_msgs.msg import Transition

from launch import LaunchDescription
from sam2_ros.parameters import TrackerSettings, specifications

SHARE = Path(__file__).parent.parent

OWN_ARGUMENTS = {
    "namespace": ("", "Namespace of the node and of all its topics and services."),
    "params_file": (
        str(SHARE / "config" / "tracker.yaml"),
        "File with the parameters that are not given as arguments.",
    ),
    "image_topics": (
        "[]",
        "Topics of the images, one for each camera C, where they are not C/image_raw; compressed ones come "
        "as TOPIC/compressed.",
    ),
    "autostart": ("true", "Configure and activate the node. Otherwise this is left to a lifecycle manager."),
    "use_sim_time": ("", "Take the time from /clock, true or false. Not given: as params_file says."),
    "log_level": ("info", "debug, info, warn, error or fatal."),
    "video": (
        "",
        "A video file, a folder of images or a webcam to publish as the first camera. Empty: none.",
    ),
    "video_rate": ("0.0", "Images per second of the video. 0.0: its own rate."),
    "video_loop": ("true", "Begin the video again at its end."),
    "rviz": ("false", "Show the overlay and the mask of the first camera in RViz."),
}


def generate_launch_description():
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in OWN_ARGUMENTS.items()
    ]
    arguments += [
        DeclareLaunchArgument(
            item.name, default_value="", description=f"{item.description} Not given: as params_file says."
        )
        for item in specifications(TrackerSettings)
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=launch_nodes)])


def launch_nodes(context):
    """What is started once the arguments are known."""
    given = context.launch_configurations
    params_file = Path(given["params_file"]).expanduser()
    in_file = parameters_in(params_file, absolute(given["namespace"], "sam2"))
    parameters = tracker_parameters(given)
    common = {"use_sim_time": is_true(given, "use_sim_time")} if given["use_sim_time"] else {}
    cameras = camera_names(parameters, in_file)
    tracker = LifecycleNode(
        package="sam2_ros",
        executable="tracker_node",
        name="sam2",
        namespace=given["namespace"],
        parameters=[str(params_file), parameters, common],
        remappings=remappings(given, cameras),
        ros_arguments=["--log-level", given["log_level"]],
        output="screen",
    )
    # The handlers come before the node, so that no transition is missed.
    actions = [tracker]
    if is_true(given, "autostart"):
        configure = change_state(tracker, Transition.TRANSITION_CONFIGURE)
        actions = [*transitions(tracker, given["namespace"]), tracker, configure]
    if given["video"]:
        if (given["image_transport"] or in_file.get("image_transport")) == "compressed":
            raise ValueError("video comes as raw images: leave out image_transport compressed, or video")
        if as_list(given, "image_topics"):
            raise ValueError(
                "video comes as C/image_raw of the first camera C: leave out image_topics, or video"
            )
        actions.append(video_publisher(given, cameras[0], common))
    if is_true(given, "rviz"):
        actions.append(rviz(given["namespace"], cameras[0], common))
    return actions


def tracker_parameters(given):
    """The node's parameters that were given as arguments, in the types that the node declares."""
    parameters = {}
    for item in specifications(TrackerSettings):
        text = given[item.name]
        if text == "":
            continue
        if isinstance(item.default, str):
            value = ParameterValue(text, value_type=str)  # else 0 or true would not stay a text
        elif isinstance(item.default, tuple):
            value = as_list(given, item.name)
            if not value:  # which launch_ros can't pass on
                raise ValueError(f"argument {item.name} is {text!r}: give at least one, for example [front]")
        else:
            value = as_yaml(given, item.name)
            if isinstance(item.default, float) and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
        parameters[item.name] = value  # of a wrong type, the node says what it expects
    return parameters


def transitions(tracker, namespace):
    """Activates the node when it has been configured, and says what to do when that failed.

    The start state is given because `inactive` is also reached by deactivating: whoever deactivates the node
    wants it to stay so. A failure does not end the launch, which may hold a whole robot: the node can be
    configured again.
    """
    full_name = absolute(namespace, "sam2")
    return [
        RegisterEventHandler(
            OnStateTransition(
                target_lifecycle_node=tracker,
                start_state="configuring",
                goal_state="inactive",
                entities=[change_state(tracker, Transition.TRANSITION_ACTIVATE)],
            )
        ),
        RegisterEventHandler(
            OnStateTransition(
                target_lifecycle_node=tracker,
                start_state="configuring",
                goal_state="unconfigured",
                entities=[
                    LogInfo(
                        msg=f"{full_name} could not be configured: its error stands above. "
                        f"Correct the parameter, `ros2 param set {full_name} NAME VALUE`, "
                        f"then `ros2 lifecycle set {full_name} configure`; "
                        "it is activated then."
                    )
                ],
            )
        ),
    ]


def absolute(*names):
    """A full ROS name made of names that may be empty."""
    return "/" + "/".join(filter(None, (name.strip("/") for name in names)))


def change_state(tracker, transition):
    return EmitEvent(
        event=ChangeState(lifecycle_node_matcher=matches_action(tracker), transition_id=transition)
    )


def parameters_in(path, name):
    """The parameters that a file holds for the node of a full name."""
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"params_file {path} can't be read: {reason}. Correct it or its path") from None
    values = {}
    for node, parameters in node_parameters(content):
        if means(node, name):
            values |= parameters  # of several, the last one holds
    return values


def camera_names(parameters, in_file):
    """The cameras: from the arguments, else from the parameter file, else the default.

    What is no list of names is for the node to complain of.
    """
    for cameras in (parameters.get("cameras"), in_file.get("cameras")):
        if isinstance(cameras, list) and cameras and all(isinstance(name, str) for name in cameras):
            return cameras
    return next(list(item.default) for item in specifications(TrackerSettings) if item.name == "cameras")


def remappings(given, cameras):
    """From the topics that the node would subscribe to, to those that were named."""
    topics = as_list(given, "image_topics")
    if not topics:
        return []
    if len(topics) != len(cameras):
        raise ValueError(
            f"argument image_topics is {given['image_topics']!r} for the cameras {', '.join(cameras)}: "
            "give one topic for each, in their order"
        )
    pairs = zip(cameras, topics, strict=True)
    return [
        (f"{camera}/image_raw{suffix}", f"{topic}{suffix}")
        for camera, topic in pairs
        for suffix in ("", "/compressed")
    ]


def means(pattern, name):
    """Whether a parameter file's key stands for a node: * is one part of its name, ** any number of them."""
    parts = re.escape(pattern).replace(r"/\*\*", r"(/\w+)*").replace(r"/\*", r"/\w+")
    return re.fullmatch(parts, name) is not None


def node_parameters(content, *path):
    """What a parameter file holds: pairs of a node's full name and its parameters."""
    if isinstance(content, dict):
        for key, inside in content.items():
            if key == "ros__parameters" and isinstance(inside, dict):
                yield absolute(*path), inside
            else:  # namespaces may be keys of their own
                yield from node_parameters(inside, *path, str(key))


def video_publisher(given, camera, common):
    return Node(
        package="sam2_ros",
        executable="video_publisher",
        namespace=absolute(given["namespace"], camera) if given["namespace"] else camera,
        parameters=[
            {
                "source": ParameterValue(given["video"], value_type=str),
                "rate": number(given, "video_rate"),
                "loop": is_true(given, "video_loop"),
                "frame_id": ParameterValue(camera, value_type=str),
            },
            common,
        ],
        ros_arguments=["--log-level", given["log_level"]],
        output="screen",
    )


def rviz(namespace, camera, common):
    topics = {name: absolute(namespace, camera, "sam2", name) for name in ("overlay", "mask")}
    return Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", str(SHARE / "rviz" / "sam2.rviz"), "-f", camera],
        parameters=[common],
        remappings=[(f"/camera/sam2/{name}", topic) for name, topic in topics.items()],
        output="screen",
    )


def as_yaml(given, name):
    try:
        return yaml.safe_load(given[name])
    except yaml.YAMLError:
        raise ValueError(f"argument {name} is {given[name]!r}, which is no YAML: mind the brackets") from None


def as_list(given, name):
    """A list of texts; one alone needs no brackets."""
    value = as_yaml(given, name)
    return [str(entry) for entry in (value if isinstance(value, list) else [value])]


def is_true(given, name):
    text = given[name].strip().lower()
    if text in ("true", "1", "yes", "on"):
        return True
    if text in ("false", "0", "no", "off"):
        return False
    raise ValueError(f"argument {name} is {given[name]!r}: give true or false")


def number(given, name):
    try:
        return float(given[name])
    except ValueError:
        raise ValueError(f"argument {name} is {given[name]!r}: give a number, for example 15.0") from None
