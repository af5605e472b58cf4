"""What the tests across processes share."""

from ros_fixtures import client, ros

__all__ = ["client", "ros"]
