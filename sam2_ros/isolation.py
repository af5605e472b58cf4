"""A ROS graph of one's own: for tests and demonstrations on a machine where others may run ROS, too."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

DOMAIN_IDS = range(1, 102)
"""Up to 101 the ports of a domain lie below those that Linux hands out to clients."""


@contextmanager
def free_domain() -> Iterator[int]:
    """Chooses a domain id that nobody on this host uses, and sets the environment so that this process and
    its children use it and find nobody beyond this host.

    Raises:
        RuntimeError: all ids are in use.
    """
    for domain_id in random.sample(DOMAIN_IDS, len(DOMAIN_IDS)):
        try:
            lock = _opened(domain_id)
        except PermissionError:  # another user's, who lets nobody read it
            continue
        with lock:
            if _try_to_lock(lock) and _is_free(domain_id):
                os.environ.update(
                    ROS_DOMAIN_ID=str(domain_id),
                    ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST",
                    ROS_STATIC_PEERS="",
                )
                yield domain_id
                return
    raise RuntimeError(
        f"no free ROS domain id between {DOMAIN_IDS[0]} and {DOMAIN_IDS[-1]}: end some ROS programs"
    )


def _opened(domain_id: int) -> IO[str]:
    """The file whose lock means that a domain is in use; of another user's reading is allowed, and enough."""
    path = Path(tempfile.gettempdir()) / f"ros_domain_{domain_id}.lock"
    with suppress(FileExistsError):
        path.open("x").close()
    return path.open()


def _try_to_lock(file: IO[str]) -> bool:
    """Locks a file for this process, until it is closed. Returns: whether nobody else had locked it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_free(domain_id: int) -> bool:
    """Whether no participant on this host listens to the domain's discovery (DDS-RTPS 2.5, 9.6.2.4: default
    ports).
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("0.0.0.0", 7400 + 250 * domain_id))
        except OSError:
            return False
    return True
