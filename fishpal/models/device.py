"""Where models compute."""

import os

import torch

from fishpal.common.errors import EncoderError


def pick_device(device: str) -> torch.device:
    """`auto` is the GPU where there is one: under torchrun, the one of this process.

    `EncoderError` where a GPU is asked for and none is there, or fewer than processes.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise EncoderError("device is 'cuda', and torch sees no GPU; allowed here: auto, cpu")
    if device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    index, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if index >= count:
        raise EncoderError(f"process {index} has no GPU; allowed: at most {count} processes here")
    return torch.device("cuda", index)
