"""Two single-threaded processes that average their gradients: faster than one process with two threads.

Small convolutions do not split well over threads, whole clips do.
"""

from __future__ import annotations

import os

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.run import main as torchrun


def start_processes(count: int, module: str, arguments: list[str]) -> None:
    """Run a module in several processes that can `join`, and wait for them.

    Args:
        count: How many.
        module: Its dotted name.
        arguments: Its command line.
    """
    # Threads that spin while they wait would take the other process's core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    torchrun(["--standalone", "--nproc-per-node", str(count), "-m", module, *arguments])


def join() -> tuple[int, int]:
    """Join the other processes, if `start_processes` started several; returns (rank, number of processes)."""
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks > 1:
        dist.init_process_group("gloo")
        return dist.get_rank(), ranks
    return 0, 1


def average(parameters: list[nn.Parameter], extra: list[float]) -> list[float]:
    """Average gradients, and a few numbers besides, over all processes.

    Args:
        parameters: Their gradients are replaced by the average; a missing one counts as zero.
        extra: Numbers to average with them.

    Returns: The averaged numbers.
    """
    if not dist.is_initialized():
        return extra
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    device = parameters[0].device
    numbers = torch.tensor(extra, dtype=torch.float32, device=device)
    flat = torch.cat([parameter.grad.reshape(-1) for parameter in parameters] + [numbers]).cpu()
    dist.all_reduce(flat)
    flat = flat.div_(dist.get_world_size()).to(device)
    start = 0
    for parameter in parameters:
        count = parameter.numel()
        parameter.grad.copy_(flat[start : start + count].view_as(parameter))
        start += count
    return flat[start:].tolist()


def wait() -> None:
    """Let all processes reach this line."""
    if dist.is_initialized():
        dist.barrier()
