"""Which GPUs a process sees, where there are several: said in its environment. Pure.

CUDA reads it once, when it is first used: it has to be said before anything that computes is imported.
"""

from collections.abc import Sequence


def only(gpus: Sequence[int]) -> dict[str, str]:
    """gpus: at least one, by their numbers as `nvidia-smi` counts them; CUDA by itself counts the fastest first."""
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(map(str, gpus))}
