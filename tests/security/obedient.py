"""An engine that answers whatever the test wants: the worst model there can be, one that obeys every instruction that it reads.

It stands where vLLM stands (`vllm_url`), so that server and language server are the real ones, and it sees what an engine gets to
see: the token ids of each prompt. Touches one TCP port of this machine.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import Tokenizer

from tacit.protocol.fim import QWEN

END = 151645
"""<|im_end|>"""
FIRST_SPECIAL = 151643
"""From here on ids are special tokens, in every model of the family."""


@dataclass(slots=True)
class Obedient:
    home: Path
    """TACIT_HOME: the vocabulary is there, as soon as the server has made the base's folder."""
    answer: str = ""
    """What it writes next."""
    tail: tuple[int, ...] = (END,)
    """Ids behind it."""
    prompts: list[list[int]] = field(default_factory=list)
    port: int = 0
    _tokenizer: Tokenizer | None = None

    def tokenizer(self) -> Tokenizer:
        if self._tokenizer is None:
            [file] = self.home.glob("cache/base-*/tokenizer.json")
            self._tokenizer = Tokenizer.from_file(str(file))
            self._tokenizer.encode_special_tokens = True
        return self._tokenizer

    def text(self, prompt: list[int]) -> str:
        """The prompt as the model reads it: special tokens in their written form."""
        return str(self.tokenizer().decode(prompt, skip_special_tokens=False))

    @staticmethod
    def specials(prompt: list[int]) -> list[int]:
        return [token for token in prompt if token >= FIRST_SPECIAL]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next(
                (int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-length")), 0
            )
            body = json.loads(await reader.readexactly(length)) if length else {}
            answer = "".join(self._answer(head.split()[1], body)).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
            await writer.drain()
        writer.close()

    def _answer(self, route: str, body: dict[str, object]) -> list[str]:
        if route == "/v1/models":
            return [json.dumps({"data": [{"id": "obedient", "max_model_len": 100_000}]})]
        if route == "/tokenize":
            return [json.dumps({"tokens": self.tokenizer().encode(str(body["prompt"]), add_special_tokens=False).ids})]
        if route != "/v1/completions":
            return ["{}"]
        if not body.get("stream"):
            spread = {str(place): -place / float(str(body["temperature"])) for place in range(4)}
            return [json.dumps({"choices": [{"logprobs": {"top_logprobs": [spread]}}]})]
        prompt = body["prompt"]
        assert isinstance(prompt, list)
        self.prompts.append(prompt)
        tokens = [*self.tokenizer().encode(self.answer, add_special_tokens=False).ids, *self.tail][: int(str(body["max_tokens"]))]
        choice = {"token_ids": tokens, "logprobs": {"token_logprobs": [-0.01] * len(tokens)}}
        chunks = [{"choices": [choice]}, {"choices": [], "usage": {"prompt_tokens": len(prompt)}}]
        return [*(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks), "data: [DONE]\n\n"]


@asynccontextmanager
async def obedient(home: Path) -> AsyncIterator[Obedient]:
    model = Obedient(home)
    server = await asyncio.start_server(model._serve, "127.0.0.1", 0, limit=1 << 24)
    model.port = server.sockets[0].getsockname()[1]
    try:
        yield model
    finally:
        server.close()
        await server.wait_closed()


COMPLETION_MARKS = (QWEN.prefix, QWEN.suffix, QWEN.middle)
