"""The services of this package, or a sentence on how to build them."""

from __future__ import annotations

try:
    from sam2_msgs.srv import Discover, Prompt, Remove
except ImportError as error:
    raise ImportError(
        f"the interface package sam2_msgs cannot be imported ({error}). "
        "On a robot build it beside this package, `colcon build --base-paths src src/sam2_ros/sam2_msgs`, "
        "and source install/setup.bash; "
        "in a source tree without ROS run `make setup`"
    ) from error

__all__ = ["Discover", "Prompt", "Remove"]
