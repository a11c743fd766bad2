"""What vLLM is asked and what it answers, in the shapes that vLLM 0.32 was seen to send; and how its process is started."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from tacit.protocol.errors import BadRequest, EngineUnavailable, NotFound, Refused, TacitError
from tacit.server.engine.interface import PRACTICE, Drawn, DrawStats, Sampling
from tacit.server.engine.vllm_client import VllmClient, drawn_in, refusal
from tacit.server.engine.vllm_server import command_line, environment


def chunk(tokens: list[int], logprobs: list[float | None]) -> dict[str, Any]:
    choice = {"index": 0, "text": "", "logprobs": {"token_logprobs": logprobs}, "finish_reason": None, "token_ids": tokens}
    return {"id": "cmpl-1", "object": "text_completion", "model": "tacit-base", "choices": [choice]}


USAGE = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 3}}}


def answering(*chunks: dict[str, Any], status: int = 200, asked: list[Any] | None = None) -> VllmClient:
    """A client whose other side says this."""

    def answer(request: httpx.Request) -> httpx.Response:
        if asked is not None:
            asked.append(json.loads(request.content))
        lines = "".join(f"data: {json.dumps(one)}\n\n" for one in chunks)
        return httpx.Response(status, text=lines + "data: [DONE]\n\n" if status == 200 else json.dumps(chunks[0]))

    client = VllmClient("http://vllm")
    client._http = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://vllm")
    return client


async def drawn(client: VllmClient, texts: list[bytes], stops: frozenset[int] = frozenset({3})) -> list[Drawn | DrawStats]:
    return [item async for item in client.draw("a", [1, 2, 3, 4, 5], Sampling(4, 0.3, 7), stops, texts)]


async def test_every_token_has_its_own_text_however_they_come() -> None:
    """Three in one chunk, a character split between two tokens, and an end token, which has no text."""
    asked: list[Any] = []
    client = answering(chunk([0], [-0.5]), chunk([1, 2, 3], [-0.1, -0.2, -0.3]), USAGE, asked=asked)
    items = await drawn(client, [b"ab", "é".encode()[:1], "é".encode()[1:], b"<end>"])
    assert [item for item in items if isinstance(item, Drawn)] == [
        Drawn(0, "ab", -0.5),
        Drawn(1, "", -0.1),
        Drawn(2, "é", -0.2),
        Drawn(3, "", -0.3),
    ]
    first, last = items[0], items[-1]
    assert isinstance(first, DrawStats) and first.generated == 0
    assert isinstance(last, DrawStats) and (last.generated, last.prompt_evaluated, last.ended) == (4, 2, True)
    (request,) = asked
    # Anything but temperature would make log μ another distribution's.
    assert (request["top_p"], request["top_k"], request["min_p"], request["repetition_penalty"]) == (1.0, 0, 0.0, 1.0)
    assert request["stop_token_ids"] == [3] and request["seed"] == 7 and request["prompt"] == [1, 2, 3, 4, 5]


async def test_a_stream_that_breaks_is_no_answer() -> None:
    with pytest.raises(EngineUnavailable, match="out of memory"):
        await drawn(answering(chunk([0], [-0.5]), {"error": {"message": "out of memory"}}), [b"a"])
    with pytest.raises(EngineUnavailable):
        await drawn(answering(USAGE), [b"a"])


@pytest.mark.parametrize("value", [None, float("nan"), float("-inf"), -9999.0])
def test_what_is_no_number_is_refused(value: float | None) -> None:
    with pytest.raises(Refused):
        drawn_in(chunk([0], [value]))


def test_a_vllm_that_does_not_tell_ids_is_refused() -> None:
    told = chunk([0], [-0.5])
    del told["choices"][0]["token_ids"]
    with pytest.raises(EngineUnavailable, match="ids"):
        drawn_in(told)


@pytest.mark.parametrize(
    ("status", "kind"), [(404, NotFound), (400, BadRequest), (500, EngineUnavailable), (503, EngineUnavailable)]
)
def test_its_refusals_are_ours(status: int, kind: type[TacitError]) -> None:
    assert isinstance(refusal(status, b'{"error": {"message": "because."}}'), kind)
    assert "because" in refusal(status, b'{"error": {"message": "because."}}').message
    assert isinstance(refusal(status, b"<html>"), kind)


async def test_ranks_and_salts_reach_those_that_know_them() -> None:
    told: list[dict[str, Any]] = []
    for ranks in (True, False):
        asked: list[Any] = []
        client = answering(chunk([0], [-0.5]), USAGE, asked=asked)
        client._ranks = ranks
        for sampling in (Sampling(4, 0.3, 7), Sampling(4, 0.3, 7, PRACTICE, "project"), Sampling(4, 0.3, 7, background=True)):
            async for _ in client.draw("a", [1, 2], sampling, frozenset({3}), [b"ab"]):
                pass
        told += asked
    assert [one.get("priority") for one in told] == [0, 2, 2, None, None, None]
    salts = [one.get("cache_salt") for one in told]
    # The same for the same workspace, and not its name.
    assert salts[0] is salts[3] is None and salts[1] == salts[4] and "project" not in salts[1]


async def test_its_own_count_of_its_cache_is_read_from_its_metrics() -> None:
    """As vLLM writes them, of two processes; what has a longer name is something else."""
    lines = [
        "# HELP vllm:prefix_cache_queries_total Prefix cache queries, in terms of number of queried tokens.",
        'vllm:prefix_cache_queries_total{engine="0",model_name="tacit-base"} 1536.0',
        'vllm:prefix_cache_queries_total{engine="1",model_name="tacit-base"} 64.0',
        'vllm:prefix_cache_queries_created{engine="0",model_name="tacit-base"} 1.763e+09',
        'vllm:prefix_cache_hits_total{engine="0",model_name="tacit-base"} 1.024e+03',
        'vllm:external_prefix_cache_hits_total{engine="0",model_name="tacit-base"} 7.0',
    ]
    answer = httpx.Response(200, text="\n".join(lines))
    client = VllmClient("http://vllm")
    client._http = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: answer), base_url="http://vllm")
    assert await client.prefix_cache() == (1600, 1024)
    answer = httpx.Response(503, text="{}")
    with pytest.raises(EngineUnavailable):
        await client.prefix_cache()


def test_guessing_and_several_gpus_are_settings() -> None:
    def options(guesses: int = 0, gpus: int = 1) -> dict[str, str]:
        where = (Path("p/python"), Path("base"), "b", Path("run/s.sock"))
        return dict(pairwise(command_line(*where, context_tokens=2048, streams=4, on_cpu=False, guesses=guesses, gpus=gpus)))

    assert "--speculative-config" not in options() and options()["--scheduling-policy"] == "priority"
    assert "--tensor-parallel-size" not in options() and options(gpus=2)["--tensor-parallel-size"] == "2"
    guessing = json.loads(options(5)["--speculative-config"])
    assert (guessing["method"], guessing["num_speculative_tokens"]) == ("ngram", 5)


def test_beside_a_place_for_each_stream_there_is_one_for_the_adapter_that_changes_nothing() -> None:
    def options(streams: int, no_change: Path | None) -> tuple[str, ...]:
        where = (Path("p/python"), Path("base"), "b", Path("run/s.sock"))
        return command_line(*where, context_tokens=2048, streams=streams, on_cpu=True, no_change=no_change)

    def places(command: tuple[str, ...]) -> tuple[int, int]:
        named = dict(pairwise(command))
        return int(named["--max-loras"]), int(named["--max-cpu-loras"])

    assert "--lora-modules" not in options(4, None)
    for streams in (1, 4, 64):
        command = options(streams, Path("with space/a,b=c"))
        copies = [json.loads(copy) for copy in command[command.index("--lora-modules") + 1 :]]
        at_once, kept = places(command)
        # Every stream may ask for another adapter; the place behind theirs is filled, as each before it.
        assert at_once == len(copies) == len({copy["name"] for copy in copies}) == streams + 1 and kept >= at_once
        assert {copy["path"] for copy in copies} == {"with space/a,b=c"}


async def test_pinned_is_only_what_vllm_says_it_has_pinned() -> None:
    def saying(status: int, answer: dict[str, Any], asked: list[Any]) -> VllmClient:
        client = VllmClient("http://vllm")

        def reply(request: httpx.Request) -> httpx.Response:
            asked.append((request.url.path, json.loads(request.content)))
            return httpx.Response(status, json=answer)

        client._http = httpx.AsyncClient(transport=httpx.MockTransport(reply), base_url="http://vllm")
        return client

    asked: list[Any] = []
    await saying(200, {"results": ["True", "True"]}, asked).pin(5)
    assert asked == [("/collective_rpc", {"method": "pin_lora", "args": [5]})]
    for status, answer in (
        (200, {"results": ["True", "False"]}),
        (200, {"results": []}),
        (404, {"error": {"message": "Not Found"}}),
        (500, {"error": {"message": "Pinning failed. LoRA 5 is not registered."}}),
    ):
        with pytest.raises(EngineUnavailable):
            await saying(status, answer, []).pin(5)


def test_it_is_started_private_offline_and_exact() -> None:
    command = command_line(Path("p/python"), Path("base"), "b", Path("run/s.sock"), context_tokens=2048, streams=4, on_cpu=True)
    assert command[:4] == ("p/python", "-P", "-m", "vllm.entrypoints.openai.api_server")
    options = dict(pairwise(command))
    assert options["--uds"] == "run/s.sock" and "--host" not in command and "--port" not in command
    assert options["--logprobs-mode"] == "processed_logprobs" and options["--generation-config"] == "vllm"
    assert {"--enable-lora", "--no-trust-remote-code", "--enable-prefix-caching"} <= set(command)
    inherited = {"PATH": "/bin", "PYTHONPATH": "x", "VLLM_SERVER_DEV_MODE": "1", "VLLM_PLUGINS": "lora_filesystem_resolver"}
    given = environment(Path("cache"), 2, True, inherited)
    assert given["PATH"] == "/bin" and "PYTHONPATH" not in given
    assert (given["VLLM_SERVER_DEV_MODE"], given["VLLM_PLUGINS"], given["HF_HUB_OFFLINE"]) == ("0", "", "1")
    assert environment(Path("cache"), 2, True, inherited, development=True)["VLLM_SERVER_DEV_MODE"] == "1"
