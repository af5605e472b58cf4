"""/diagnostics at 1 Hz: how each camera is doing."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode

from sam2_core.live import LiveStatistics

PERIOD_SECONDS = 1.0
WINDOW = 256
"""Over how many of the last published images the latency percentiles are taken."""

LOST_PART = 0.1
"""From this part of the images on, it is warned of those that are lost before they arrive."""


class Source(NamedTuple):
    """Where a camera's images come from, and how well they come through.

    Attributes:
        topic: its full name.
        publishers: how many there are.
        reliability: with which it is subscribed to.
        lost: images that were published, but have not arrived.
    """

    topic: str
    publishers: int
    reliability: str
    lost: int


@dataclass(frozen=True)
class Report:
    """What a camera has to say about the time since its last report.

    Attributes:
        rate_in, rate_out: images received and published, per second; one that is published again, because
            its objects have changed, counts once.
        rate_lost: images that were published, but have not arrived, per second.
        latency_p50, latency_p95: from an image's stamp to its publication, milliseconds of the node's clock,
            over the last `WINDOW` images; None before the first.
        model_p50: what the model took of it.
        statistics: of the camera's LiveTracker, since activation.
        refused: messages that could not be used, since configuration.
        fault: what was wrong with the last of them; empty before the first.
        useless: images arrived since the last report, and not one of them could be used.
        source: who publishes the images; None while the camera is inactive.
        known: the names of the known objects, by their ids, visible or not.
    """

    rate_in: float
    rate_out: float
    rate_lost: float
    latency_p50: float | None
    latency_p95: float | None
    model_p50: float | None
    statistics: LiveStatistics
    refused: int
    fault: str
    useless: bool
    source: Source | None
    known: Mapping[int, str]


class Meter:
    """Counts and times one camera's images. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latencies: deque[float] = deque(maxlen=WINDOW)
        self._model: deque[float] = deque(maxlen=WINDOW)
        self._received = self._published = self._refused = 0
        self._fault = ""
        self._reported = (0, 0, 0, 0, time.monotonic())

    def received(self) -> None:
        with self._lock:
            self._received += 1

    def refused(self, fault: str) -> None:
        with self._lock:
            self._refused += 1
            self._fault = fault

    def published(self, latency_ms: float, model_ms: float) -> None:
        with self._lock:
            self._published += 1
            self._latencies.append(latency_ms)
            self._model.append(model_ms)

    def report(self, statistics: LiveStatistics, source: Source | None, known: Mapping[int, str]) -> Report:
        """The rates since the last report, the latencies of late."""
        now = time.monotonic()
        lost_so_far = source.lost if source is not None else 0
        with self._lock:
            received, published, refused, lost, then = self._reported
            self._reported = (self._received, self._published, self._refused, lost_so_far, now)
            latencies, model = list(self._latencies), list(self._model)
            received, published = self._received - received, self._published - published
            useless = 0 < received == self._refused - refused
            refused, fault = self._refused, self._fault
        seconds = max(now - then, 1e-3)
        p50, p95 = np.percentile(latencies, (50, 95)) if latencies else (None, None)
        model_p50 = float(np.median(model)) if model else None
        lost = max(0, lost_so_far - lost)  # it begins anew with every activation
        rates = received / seconds, published / seconds, lost / seconds
        return Report(*rates, p50, p95, model_p50, statistics, refused, fault, useless, source, known)


class Diagnostics:
    """Publishes the cameras' reports for as long as the node lives.

    Args:
        node: whose diagnostics these are.
        reports: gives the report of every camera by its name; none while the node is not configured.
        common: gives what is the same for all cameras: model, device.
        failure: gives why the node could not be configured; empty where it could.
    """

    def __init__(
        self,
        node: LifecycleNode,
        reports: Callable[[], Mapping[str, Report]],
        common: Callable[[], Mapping[str, str]],
        failure: Callable[[], str],
    ) -> None:
        self._node = node
        self._reports = reports
        self._common = common
        self._failure = failure
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # A clock of its own: simulated time may stand still, or run at any rate.
        node.create_timer(PERIOD_SECONDS, self._publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _publish(self) -> None:
        message = DiagnosticArray()
        message.header.stamp = self._node.get_clock().now().to_msg()
        common = dict(self._common())
        state = common.get("state", "")
        reports = self._reports()
        for camera, report in reports.items():
            message.status.append(
                self._status(f": {camera}", camera, common | _values(report), _summary(state, report))
            )
        if not reports:
            failure = self._failure()
            summary = (DiagnosticStatus.ERROR, failure) if failure else (DiagnosticStatus.OK, state)
            message.status.append(self._status("", "", common, summary))
        self._publisher.publish(message)

    def _status(
        self, suffix: str, camera: str, values: Mapping[str, str], summary: tuple[bytes, str]
    ) -> DiagnosticStatus:
        level, text = summary
        pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
        name = self._node.get_fully_qualified_name().lstrip("/") + suffix
        return DiagnosticStatus(level=level, name=name, message=text, hardware_id=camera, values=pairs)


def _summary(state: str, report: Report) -> tuple[bytes, str]:
    published = report.rate_in + report.rate_lost
    if state == "active" and report.rate_lost > LOST_PART * published:
        return DiagnosticStatus.WARN, (
            f"active, but of {published:.0f} images per second {report.rate_lost:.0f} are lost on their way: "
            "let the camera publish reliably, or take compressed images"
        )
    if state == "active" and report.rate_in == 0:
        source = report.source
        why = f": nobody publishes {source.topic}" if source is not None and not source.publishers else ""
        return DiagnosticStatus.WARN, f"active, but no images arrive{why}"
    if state == "active" and report.useless:
        return DiagnosticStatus.WARN, f"active, but no image can be used: {report.fault}"
    return DiagnosticStatus.OK, state


def _values(report: Report) -> dict[str, str]:
    statistics = report.statistics
    times = {
        "latency p50 (ms)": report.latency_p50,
        "latency p95 (ms)": report.latency_p95,
        "model p50 (ms)": report.model_p50,
    }
    source = report.source or Source("", 0, "", 0)
    return {
        "topic": source.topic,
        "publishers": str(source.publishers),
        "reliability": source.reliability,
        "rate in (Hz)": f"{report.rate_in:.2f}",
        "rate out (Hz)": f"{report.rate_out:.2f}",
        "rate of lost (Hz)": f"{report.rate_lost:.2f}",
        **{key: "" if value is None else f"{value:.1f}" for key, value in times.items()},
        "received": str(statistics.received),
        "processed": str(statistics.processed),
        "dropped": str(statistics.dropped),
        "refused": str(report.refused),
        "last refused for": report.fault,
        "objects": str(statistics.objects),
        "known objects": ", ".join(f"{number} {name}".strip() for number, name in report.known.items()),
        "memory (bytes)": str(statistics.memory_bytes),
        "memory of objects (bytes)": str(statistics.object_bytes),
    }
