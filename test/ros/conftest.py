"""What the tests of the ROS layer share."""

from ros_fixtures import client, ros, start

__all__ = ["client", "ros", "start"]
