"""Fixtures for tests on a ROS graph. Nothing of ROS is imported before a test asks for it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest


@pytest.fixture(scope="module")
def ros() -> Iterator[None]:
    """A ROS context on a domain of its own."""
    import rclpy

    from sam2_ros.isolation import free_domain

    with free_domain() as domain_id:
        rclpy.init(domain_id=domain_id)
        yield
        rclpy.shutdown()


@pytest.fixture
def client(ros: None) -> Iterator[Any]:
    """A client on the graph, see `ros_graph.Client`."""
    from ros_graph import Client

    client = Client()
    yield client
    client.close()


@pytest.fixture
def start(ros: None) -> Iterator[Callable[..., Any]]:
    """Starts a tracker node in this process, with parameters; small and on two threads unless told
    otherwise.
    """
    from rclpy.parameter import Parameter
    from ros_graph import Spinner

    from sam2_ros.node import TrackerNode

    spinners = []

    def start(namespace: str = "", **parameters: Any) -> TrackerNode:
        given = {"image_size": 128, "num_threads": 2, "device": "cpu", **parameters}
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        node = TrackerNode(namespace=namespace, parameter_overrides=overrides)
        spinners.append(Spinner(node))
        return node

    yield start
    failures = []
    while spinners:
        spinner = spinners.pop()
        spinner.close()
        spinner.node.close()
        failures += spinner.failures
    del spinner
    gc.collect()  # the state machine keeps the node, and its place on /rosout, until it is collected
    assert not failures
