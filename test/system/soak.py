"""A long run of the node as a process over real DDS: does anything grow, slow down or break?

A camera drops, delays, duplicates and resizes images, a client adds, corrects, discovers, removes and resets
objects through the services, see soak_script.py. Once a second /diagnostics and /proc of the node are noted.
Then the node is cleaned up and configured again and again, see soak_lives.py. Left behind: soak.json,
soak.png and the node's log, soak.log.

    PYTHONPATH=test python test/system/soak.py --frames 10000 --output out
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from ros_graph import RELIABLE, Client, image_message, nanoseconds
from scene import draw
from sensor_msgs.msg import Image
from soak_lives import Footprint, compare_lives, live_again_and_again
from soak_report import Record, Sample, compare, plot, summarise
from soak_script import CYCLE, DELAY_BEATS, LATE_IMAGES, Beat, Request, Shown, make_cycle, prompt_of, render
from std_srvs.srv import Trigger

from sam2_ros.interfaces import Discover, Prompt, Remove
from sam2_ros.isolation import free_domain

WARM_UP_CYCLES = 1
"""Before the first tenth: every size of image and every kind of request has been seen once."""


class Soak:
    """One run against a node that is active.

    Args:
        client: on the node's graph.
        process_id: of the node.
        rate: beats per second.
        seed: of the cycle.
    """

    def __init__(self, client: Client, process_id: int, rate: float, seed: int) -> None:
        self.record = Record()
        self._beat = -WARM_UP_CYCLES * CYCLE
        self._client = client
        self._process_id = process_id
        self._period = 1 / rate
        self._cycle = make_cycle(seed)
        self._images = render()
        self._shown: deque[Shown] = deque(maxlen=LATE_IMAGES[1] + 1)
        self._held: deque[Shown] = deque()
        self._waiting: dict[int, tuple[int, float]] = {}
        self._pending: list[tuple[Request, Any]] = []
        self._lock = threading.Lock()
        self._began = time.monotonic()
        node = client.node
        self._subscriptions = [
            node.create_subscription(Image, "/camera/sam2/mask", self._on_mask, RELIABLE),
            node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, RELIABLE),
        ]
        self._publisher = client.publisher(Image, "/camera/image_raw")

    def run(self, cycles: int) -> None:
        """Plays the warm-up and then so many cycles; returns when every request has been answered."""
        due = time.monotonic()
        while self._beat < cycles * CYCLE:
            self._play(self._cycle[self._beat % CYCLE])
            self._beat += 1
            due = max(due + self._period, time.monotonic())  # a late beat is not made up for
            time.sleep(max(due - time.monotonic(), 0))
        for request, future in self._pending:
            self._note(request, self._client.receive(future, f"an answer of {request.verb}"))
        for subscription in self._subscriptions:
            self._client.node.destroy_subscription(subscription)
        self._client.node.destroy_publisher(self._publisher)

    def _play(self, beat: Beat) -> None:
        shown = Shown(self._beat, time.time_ns(), beat.size)
        if beat.image == "delay":
            self._held.append(shown)
        elif beat.image != "drop":
            for _ in range(2 if beat.image == "duplicate" else 1):
                self._publish(shown)
            self._shown.append(shown)
        while self._held and self._held[0].beat <= self._beat - DELAY_BEATS:
            self._publish(self._held.popleft())
        if beat.request is not None and self._shown:
            self._send(beat.request)
        for request, future in [one for one in self._pending if one[1].done()]:
            self._note(request, future.result())
        self._pending = [one for one in self._pending if not one[1].done()]

    def _publish(self, shown: Shown) -> None:
        message = image_message(self._images[shown.scene, shown.size], shown.stamp)
        with self._lock:
            self._waiting[shown.stamp] = (shown.beat, time.monotonic())
            while len(self._waiting) > 100:  # those that the node passed over
                del self._waiting[next(iter(self._waiting))]
        self.record.published += 1
        self._publisher.publish(message)

    def _send(self, request: Request) -> None:
        if request.verb == "reset":
            future = self._client.send(Trigger, "/camera/sam2/reset", Trigger.Request())
        elif request.verb == "discover":
            message = Discover.Request(max_objects=2)
            future = self._client.send(Discover, "/camera/sam2/discover", message)
        elif request.verb == "remove":
            message = Remove.Request(object_ids=[request.object_id])
            future = self._client.send(Remove, "/camera/sam2/remove", message)
        elif request.verb == "refused":
            message = Prompt.Request(object_id=1, box=[9.0, 9.0, 3.0, 3.0])
            future = self._client.send(Prompt, "/camera/sam2/prompt", message)
        else:
            shown = self._shown[max(-1 - request.late, -len(self._shown))]
            future = self._client.send(Prompt, "/camera/sam2/prompt", prompt_of(request, shown))
        self._pending.append((request, future))

    def _note(self, request: Request, answer: Any) -> None:
        late = ", late" if request.late else ""
        self.record.answers[f"{request.verb}{late}: {'accepted' if answer.success else 'refused'}"] += 1
        if not answer.success:
            self.record.reasons[re.sub(r"\d+(\.\d+)?", "#", answer.message)] += 1
        if not answer.success and not answer.message:
            self.record.faults.append(f"{request.verb} was refused without a reason")
        if request.verb == "refused" and answer.success:
            self.record.faults.append("a box without area was accepted")
        if "inside the node" in answer.message:
            self.record.faults.append(answer.message)

    def _on_mask(self, message: Image) -> None:
        now = time.monotonic()
        with self._lock:
            beat, then = self._waiting.pop(nanoseconds(message), (None, 0.0))
        if beat is not None:  # else the same image again, with another object in it
            self.record.latencies.append((beat, (now - then) * 1e3))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        values = {pair.key: pair.value for status in message.status for pair in status.values}
        if not values.get("latency p50 (ms)"):
            return
        footprint = Footprint.of(self._process_id)
        sample = Sample(
            time.monotonic() - self._began,
            self._beat,
            footprint.rss,
            footprint.threads,
            footprint.open_files,
            int(values["memory (bytes)"]),
            int(values["objects"]),
            int(values["processed"]),
            int(values["dropped"]),
            float(values["latency p50 (ms)"]),
            float(values["latency p95 (ms)"]),
        )
        self.record.samples.append(sample)


def log_faults(log: str) -> list[str]:
    """Lines of a node's log that must not be there."""
    signs = ("Traceback", "Exception", "[ERROR]", "[FATAL]", "Error:")
    return [line for line in log.splitlines() if any(sign in line for sign in signs)]


@contextmanager
def running_node(log: Path, parameters: dict[str, Any]) -> Iterator[subprocess.Popen]:
    """The node as a process; it must end cleanly."""
    given = [part for name, value in parameters.items() for part in ("-p", f"{name}:={value}")]
    command = [sys.executable, "-m", "sam2_ros.tracker_node", "--ros-args", *given]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield process
            process.send_signal(signal.SIGINT)
            if code := process.wait(60):
                raise RuntimeError(f"the node ended with code {code}: see {log}")
        finally:
            process.kill()
            process.wait()


def main() -> int:
    """Runs the soak. Returns: 0 if all that is judged holds."""
    parser = argparse.ArgumentParser(description="Soak the node: images and requests without end.")
    parser.add_argument(
        "--frames",
        type=int,
        default=10_000,
        help=f"images after the warm-up, rounded up to cycles of {CYCLE}; default: %(default)s",
    )
    parser.add_argument("--rate", type=float, default=20.0, help="images per second; default: %(default)s")
    parser.add_argument("--model", default="sam2_nano")
    parser.add_argument("--image-size", type=int, default=128, help="the model's input; default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="PyTorch's; default: %(default)s")
    parser.add_argument(
        "--lives",
        type=int,
        default=100,
        help="afterwards, how often the node is cleaned up and configured again; default: %(default)s",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--short",
        action="store_true",
        help="report latency and memory bytes without judging them: a short run has too few samples",
    )
    parser.add_argument("--output", type=Path, default=Path("out"))
    options = parser.parse_args()
    cycles = -(-options.frames // CYCLE)
    options.output.mkdir(parents=True, exist_ok=True)
    log = options.output / "soak.log"
    parameters = {
        "model": options.model,
        "device": "cpu",
        "image_size": options.image_size,
        "num_threads": options.threads,
    }
    with free_domain() as domain_id:
        rclpy.init(domain_id=domain_id)
        with running_node(log, parameters) as process:
            client = Client("soak")
            for transition in ("configure", "activate"):
                if not client.change_state(transition):
                    raise RuntimeError(f"the node could not {transition}: see {log}")
            soak = Soak(client, process.pid, options.rate, options.seed)
            soak.run(cycles)
            footprints = live_again_and_again(client, process.pid, options.lives, draw)
            client.close()
        rclpy.shutdown()
    record = soak.record
    record.faults += log_faults(log.read_text())
    comparisons = compare(record, cycles, judge_all=not options.short) + compare_lives(footprints)
    plot(record, options.output / "soak.png")
    last = record.samples[-1]
    report = {
        "warm_up": WARM_UP_CYCLES * CYCLE,
        "frames": cycles * CYCLE,
        "published": record.published,
        "rate": options.rate,
        "parameters": parameters,
        "seconds": round(last.seconds, 1),
        "processed": last.processed,
        "dropped": last.dropped,
        "answers": dict(sorted(record.answers.items())),
        "refusals": dict(record.reasons.most_common()),
        "comparisons": [{**asdict(c), "holds": c.holds} for c in comparisons],
        "faults": record.faults,
        "lives": [asdict(footprint) for footprint in footprints],
        "samples": [asdict(sample) for sample in record.samples],
    }
    (options.output / "soak.json").write_text(json.dumps(report, indent=1))
    summarise(report, comparisons)
    return 0 if not record.faults and all(c.holds for c in comparisons) else 1


if __name__ == "__main__":
    sys.exit(main())
