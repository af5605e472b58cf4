"""Downloading the official weights: resumed where it broke off, checked before it counts as there."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import logging
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, BinaryIO

from .checkpoints import OFFICIAL, CheckpointError, OfficialFile, download_directory
from .paths import expanded

logger = logging.getLogger(__name__)

CHUNK = 1 << 18
STALL_SECONDS = 30.0
"""How long no byte may arrive before the connection counts as dead."""
FRUITLESS_TRIES = 5
"""How many connections in a row may end without a single new byte."""
OFFLINE_TRIES = 2
"""The same while nobody has answered at all: there is no network, and somebody waits."""


def download_checkpoint(
    name: str,
    directory: str | Path | None = None,
    *,
    stall_seconds: float = STALL_SECONDS,
    pause_seconds: float = 1.0,
) -> Path:
    """Fetches an official model's weights, with a progress bar on stderr, and checks their sha256.

    What has arrived stays in `NAME.pt.part`, also after an interruption, and the next call goes on from
    there. A file that is already complete is only checked.

    Args:
        name: an official model's name.
        directory: where to put it; None: `checkpoints/` of a source tree, else the cache.
        stall_seconds: silence after which to connect anew.
        pause_seconds: between two connections, doubled after each fruitless one.

    Raises:
        CheckpointError: unknown name, no connection, a server that offers something else, a wrong digest,
            no space. Naming the address and where to put the file by hand.
    """
    official = OFFICIAL.get(name)
    if official is None:
        raise CheckpointError(f"no official model is called {name!r}; there are {', '.join(OFFICIAL)}")
    folder = expanded(directory) if directory is not None else download_directory()
    target = folder / official.filename
    if target.is_file():
        _check_existing(target, official)
        return target
    if "://" not in official.url:
        raise CheckpointError(f"{official.url}: is no address: give SAM2_MIRROR as https://HOST/PATH")
    # A warning, so that an automatic download is seen also where nobody has set up logging.
    logger.warning("downloading %s (%s bytes) to %s", official.url, f"{official.size:,}", target)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{official.filename}.part").open("ab") as part:
            _lock(part, target)
            try:
                _fetch(official, part, target, stall_seconds, pause_seconds)
            except CheckpointError:
                part.flush()
                if not Path(part.name).stat().st_size:
                    Path(part.name).unlink()
                raise
            Path(part.name).rename(target)
    except OSError as error:
        raise CheckpointError(
            f"{target}: cannot be written ({error}). {_by_hand(official, target)}"
        ) from error
    return target


def _check_existing(target: Path, official: OfficialFile) -> None:
    size = target.stat().st_size
    if size != official.size or _sha256(target) != official.sha256:
        raise CheckpointError(
            f"{target}: is there ({size:,} bytes), but is not the published file ({official.size:,} bytes, "
            f"sha256 {official.sha256}); move it away and run `sam2 download {official.name}` again"
        )


def _lock(part: BinaryIO, target: Path) -> None:
    try:
        fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise CheckpointError(f"{target}: another process is downloading it; wait for that to end") from error


def _fetch(
    official: OfficialFile, part: BinaryIO, target: Path, stall_seconds: float, pause_seconds: float
) -> None:
    """Completes the open partial file and checks its digest; a bad one is emptied."""
    from tqdm import tqdm

    if part.tell() > official.size:
        _empty(part)
    resumed = part.tell() > 0
    fruitless, connected = 0, False
    with tqdm(
        total=official.size,
        initial=part.tell(),
        desc=official.filename,
        unit="B",
        unit_scale=True,
        leave=False,
    ) as bar:
        while part.tell() < official.size:
            before = part.tell()
            try:
                _receive(official, part, bar, stall_seconds)
                reason = "the connection ended early"
                connected = True
            except urllib.error.HTTPError as error:
                reason = f"the server answered {error.code} {error.reason}"
                connected = True
                if error.code < 500 and error.code not in (408, 429):
                    fruitless = FRUITLESS_TRIES
            except urllib.error.URLError as error:
                reason = str(error.reason)
            except (TimeoutError, http.client.HTTPException, ConnectionError, ssl.SSLError) as error:
                reason = str(error) or type(error).__name__
            except ValueError as error:
                reason = f"not an address: {error}"
                fruitless = FRUITLESS_TRIES
            part.flush()
            if part.tell() >= official.size:
                break
            connected |= part.tell() > before
            fruitless = fruitless + 1 if part.tell() <= before else 0
            if fruitless >= (FRUITLESS_TRIES if connected else OFFLINE_TRIES):
                raise CheckpointError(
                    f"{official.url}: could not be downloaded ({reason}); {part.tell():,} of "
                    f"{official.size:,} bytes are here, the next try goes on from there. "
                    f"{_by_hand(official, target)}"
                )
            time.sleep(min(30.0, pause_seconds * 2**fruitless))
    if (digest := _sha256(Path(part.name))) == official.sha256:
        return
    _empty(part)
    if resumed:  # the old beginning may belong to another file: once more from the start
        logger.warning("%s: the resumed file has a wrong sha256, starting over", target)
        _fetch(official, part, target, stall_seconds, pause_seconds)
        return
    raise CheckpointError(
        f"{official.url}: what arrived has sha256 {digest} instead of {official.sha256} and was discarded. "
        f"{_by_hand(official, target)}"
    )


def _receive(official: OfficialFile, part: BinaryIO, bar: Any, stall_seconds: float) -> None:
    """One connection: appends what it brings to the partial file."""
    request = urllib.request.Request(official.url, headers={"User-Agent": "sam2_ros"})
    if part.tell():
        request.add_header("Range", f"bytes={part.tell()}-")
    with urllib.request.urlopen(request, timeout=stall_seconds) as response:
        if response.status != 206 and part.tell():  # a server without ranges sends everything again
            _empty(part)
            bar.reset()
        length = response.headers.get("Content-Length")
        if length is not None and part.tell() + int(length) != official.size:
            raise CheckpointError(
                f"{official.url}: offers {part.tell() + int(length):,} bytes instead of {official.size:,}; "
                "is a proxy or a login page answering?"
            )
        while chunk := response.read(min(CHUNK, official.size - part.tell())):
            part.write(chunk)
            bar.update(len(chunk))


def _empty(part: BinaryIO) -> None:
    part.seek(0)
    part.truncate(0)


def _by_hand(official: OfficialFile, target: Path) -> str:
    return f"To do it by hand, fetch {official.url} ({official.size:,} bytes) and put it at {target}"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
