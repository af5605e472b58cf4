"""How much memory a piece of code takes, told apart from that of others in the same process."""

from __future__ import annotations

from pathlib import Path

import torch

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class MemoryUse:
    """A context manager around every piece of the work that is to be counted.

    On a GPU it counts what PyTorch allocates there, on a CPU what the process has resident (Linux only).

    Args:
        device: whose memory it is.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._held = 0
        self._peak: int | None = 0

    @property
    def peak(self) -> int | None:
        """Bytes: the most that was in use at a time beyond what there was before; None: not known here."""
        return self._peak

    def __enter__(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        elif self.device.type == "cpu" and CLEAR.exists():
            CLEAR.write_text("5")  # the peak begins anew, see proc(5)
        else:
            self._peak = None
        self._before = self._now("VmRSS")

    def __exit__(self, *_: object) -> None:
        if self._peak is not None:
            self._peak = max(self._peak, self._held + self._now("VmHWM") - self._before)
        self._held += self._now("VmRSS") - self._before

    def _now(self, what: str) -> int:
        if self.device.type == "cuda":
            peak = what == "VmHWM"
            return (
                torch.cuda.max_memory_allocated(self.device)
                if peak
                else torch.cuda.memory_allocated(self.device)
            )
        if self.device.type != "cpu" or not STATUS.exists():
            return 0
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith(what))
        return int(line.split()[1]) * 1024
