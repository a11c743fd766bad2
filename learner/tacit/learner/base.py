"""The base model for training: a GGUF file dequantised once, kept as safetensors in the cache. Touches that cache only.

What the engine serves (llama.cpp, Q4_K_M) and what is trained here are the same weights, dequantised and rounded to bf16.
`python -m tacit.learner.base GGUF SHA256` makes the folder and prints where it is, as one line of JSON: for other engines.
"""

import json
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, modeling_gguf_pytorch_utils
from transformers.utils import logging as transformers_logging

from tacit.protocol.errors import ModelUnavailable, TacitError
from tacit.protocol.home import Home


def prepare(gguf: Path, digest: str, home: Home) -> Path:
    """Folder of the dequantised model and its tokenizer, made on first use. Complete or not there at all.

    digest: sha256 of the GGUF file. ModelUnavailable if transformers cannot read it.
    """
    folder = home.base_folder(digest)
    if folder.exists():
        return folder
    home.cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    quiet()
    made = Path(tempfile.mkdtemp(prefix="base-", suffix=".part", dir=home.cache))
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(
            str(gguf.parent), gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
        )
        model.save_pretrained(made)
        tokenizer.save_pretrained(made)
        for file in made.iterdir():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        made.rename(folder)
    except OSError as error:
        if folder.exists():  # another learner was faster
            return folder
        raise ModelUnavailable(f"The base model {gguf} could not be prepared for training: {error}.") from error
    except (ValueError, KeyError, NotImplementedError, RuntimeError) as error:
        raise ModelUnavailable(
            f"The base model {gguf.name} cannot be trained: {error}.", mend="Choose another with `tacit models list`."
        ) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


class Tokenizer:
    """The model's vocabulary, with the text of special tokens never parsed as such: as the server tokenises."""

    def __init__(self, folder: Path) -> None:
        quiet()
        self._inner: Any = AutoTokenizer.from_pretrained(str(folder))

    def encode(self, text: str) -> list[int]:
        if not text:
            return []
        return list(self._inner(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._inner.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def digest(self) -> str:
        """sha256, hex, of the vocabulary: each id and its text, in order of id."""
        seen = sha256()
        for text, number in sorted(self._inner.get_vocab().items(), key=lambda pair: pair[1]):
            seen.update(f"{number}\0{text}\n".encode())
        return seen.hexdigest()


def load(folder: Path, device: torch.device) -> Any:
    """The base in bf16, in evaluation mode, without gradients."""
    quiet()
    model: Any = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.bfloat16)
    model.requires_grad_(False)
    return model.to(device).eval()


def best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def free_bytes(device: torch.device) -> int | None:
    """Memory that is left on the device; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return None


def quiet() -> None:
    """transformers draws its own progress bars and prints advice; a night's log needs neither."""
    logging: Any = transformers_logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    # Advice to peft's authors.
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
    # The base's name in an adapter is its digest, where there is no file to be found.
    warnings.filterwarnings("ignore", message="Could not find a config file in sha256", category=UserWarning)
    # The GGUF reader's bar knows no switch.
    reader: Any = modeling_gguf_pytorch_utils
    if not isinstance(reader.tqdm, partial):
        reader.tqdm = partial(reader.tqdm, disable=True)


def main(gguf: str, digest: str) -> int:
    try:
        folder = prepare(Path(gguf), digest, Home.from_environment())
    except TacitError as error:
        print(json.dumps({"error": str(error)}))
        return 1
    print(json.dumps({"folder": str(folder)}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
