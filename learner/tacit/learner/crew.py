"""Processes that train one candidate together, each on its share of every batch, as torchrun starts them. Touches tensors, and
what the processes tell one another.

All of them take the same steps: gradients are summed before each, and what is told is put together in order of rank.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Crew:
    """rank: this process's number, below `size`."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def mine(self, items: Sequence[T]) -> Sequence[T]:
        """This process's share. Together the processes have every item once."""
        return items[self.rank :: self.size]

    def gather(self, value: T) -> list[T]:
        """Everyone's, in order of rank. Every process has to ask."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def add_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Each gradient becomes the sum of everyone's; of one who had nothing to read it counts as zero."""
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([p.grad.reshape(-1) for p in parameters if p.grad is not None])
        dist.all_reduce(flat)
        at = 0
        for parameter in parameters:
            assert parameter.grad is not None
            parameter.grad.copy_(flat[at : at + parameter.numel()].view_as(parameter))
            at += parameter.numel()


ALONE = Crew()


def join() -> Crew:
    """In a process that torchrun started: meet the others. gloo on a CPU, NCCL for what lies on GPUs."""
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("cpu:gloo,cuda:nccl")
    else:
        dist.init_process_group("gloo")
    return Crew(dist.get_rank(), dist.get_world_size())


def leave() -> None:
    dist.destroy_process_group()
