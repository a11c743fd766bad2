"""The base model as a folder of safetensors, which vLLM wants: where it is, how it is made, its tokenizer.

Starts a process of the learner to make it: dequantising needs torch, which the server never loads.
"""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from tacit.protocol.errors import EngineUnavailable, ModelUnavailable
from tacit.protocol.home import Home
from tacit.server.engine.gguf_header import byte_letters

MAKE_SECONDS = 1800.0
"""A few seconds per GB; a slow machine takes minutes."""


class FolderTokenizer:
    """The folder's vocabulary. The text of special tokens is never parsed as such: as the learner tokenises."""

    def __init__(self, folder: Path) -> None:
        """ModelUnavailable: there is no tokenizer in it that can be used."""
        path = folder / "tokenizer.json"
        try:
            self._inner = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers has no exception of its own
            raise ModelUnavailable(f"{path} is not a usable tokenizer: {error}.", mend="Correct the folder.") from error
        self._inner.encode_special_tokens = True
        self._inner.no_padding()
        self._inner.no_truncation()

    def encode(self, text: str) -> list[int]:
        return list(self._inner.encode(text, add_special_tokens=False).ids) if text else []

    def texts(self) -> Sequence[bytes]:
        """The bytes that each token id stands for; empty for special tokens."""
        letters = byte_letters()
        special = {number for number, token in self._inner.get_added_tokens_decoder().items() if token.special}
        texts = []
        for number in range(self._inner.get_vocab_size(with_added_tokens=True)):
            text = "" if number in special else self._inner.id_to_token(number) or ""
            # An added token's text need not be in these letters.
            texts.append(bytes(map(letters.__getitem__, text)) if letters.keys() >= set(text) else text.encode())
        return texts


async def base_folder(model: Path, sha256: str, home: Home) -> Path:
    """The folder of a verified GGUF file, made on first use. ModelUnavailable, EngineUnavailable."""
    if (folder := home.base_folder(sha256)).exists():
        return folder
    command = (sys.executable, "-P", "-m", "tacit.learner.base", str(model), sha256)
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TACIT_HOME": str(home.root)},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(MAKE_SECONDS):
            output, complaints = await process.communicate()
    except TimeoutError as error:
        raise EngineUnavailable(f"{model.name} was not made ready for vLLM within {MAKE_SECONDS:.0f} s.") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        answer = json.loads(output.splitlines()[-1])
    except (ValueError, IndexError) as error:
        words = complaints.decode(errors="replace").strip().splitlines()
        raise ModelUnavailable(
            f"{model.name} cannot be made ready for vLLM: {words[-1] if words else 'the process said nothing'}.",
            mend="It needs the learner's packages: `pip install 'tacit[learner]'`.",
        ) from error
    if "error" in answer:
        raise ModelUnavailable(answer["error"])
    return Path(answer["folder"])
