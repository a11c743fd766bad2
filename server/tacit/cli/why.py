"""`tacit why SUGGESTION`: what became of a suggestion and what it was worth. Prints; the accounting is in tacit.learner."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tacit.protocol.events import SuggestionRecord

LINES_BEFORE, LINES_AFTER = 6, 3
NAMES = {
    "kept": "kept text",
    "price": "price of showing it",
    "undone": "taken out at once",
    "analysis": "analysers",
    "execution": "tests",
    "rating": "your rating",
}


def why(
    suggestion: Annotated[str, typer.Argument(help="Its id, or the beginning of it.", metavar="SUGGESTION")],
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for scripts.")] = False,
) -> None:
    """A suggestion's reward with its parts, what was written in its place, how much was kept when, and what the model saw."""
    import asyncio

    from tacit.learner.account import account
    from tacit.protocol.client import TacitClient
    from tacit.protocol.home import Home

    async def asked() -> "SuggestionRecord":
        async with TacitClient.of(Home.from_environment()) as client:
            return await client.suggestion(suggestion)

    told = account(asyncio.run(asked()))
    typer.echo(json.dumps(told, ensure_ascii=False, indent=2) if as_json else words(told))


def words(told: dict[str, Any]) -> str:
    """What `account` says, to read."""
    reward, draw, saw = told["reward"], told["logprobs"], told["saw"]
    shown = "shown" if told["shown"] else f"not shown ({told['withheld_reason'] or 'nothing said why'})"
    p_kept = "not asked" if told["p_kept"] is None else f"{told['p_kept']:.0%}"
    lines = [
        f"{told['suggestion']}  {told['path']}  {told['at']}",
        f"{shown}; asked for {'by hand' if told['trigger'] == 'invoked' else 'while typing'}; "
        f"P(show) {told['p_show']:.2f}, predicted chance of being kept {p_kept}; answered in {told['latency_ms']:.0f} ms",
        f"policy {told['policy_version']}, model {told['model'][:12]}, temperature {told['temperature']:g}, seed {told['seed']}",
    ]
    if draw["tokens"]:
        lines.append(
            f"{draw['tokens']} tokens drawn (ended by {told['finish_reason']}), log-probability {draw['sum']:.2f}, "
            f"{draw['mean']:.2f} each, least {draw['least']:.2f}; perplexity {draw['perplexity']:.2f}"
        )
    lines += ["", "Suggested", _block(told["text"]), "", "Written there"]
    lines.append(_block(told["written"]) if told["written"] is not None else "  nothing that was seen")
    lines += ["", "What became of it"]
    lines += [f"  {_event(event)}" for event in told["events"]] or ["  nothing yet"]
    lines += ["", "Kept"]
    lines += [
        f"  {one['horizon']:>5}  {one['kept_rate']:6.1%}  after {_duration(one['elapsed_ms'])}" for one in told["horizons"]
    ] or ["  no horizon was reached"]
    lines += ["", _reward(reward)]
    lines += [f"  {NAMES.get(name, name):<22} {value:+.3f}" for name, value in reward["parts"].items()]
    before, after = saw["prefix"].split("\n")[-LINES_BEFORE:], saw["suffix"].split("\n")[:LINES_AFTER]
    lines += [
        "",
        f"The model saw {len(saw['prefix'])} characters before the cursor, {len(saw['suffix'])} after it, "
        f"and {len(saw['snippets'])} other places{_places(saw['snippets'])}",
        _block("\n".join(before) + "▮" + "\n".join(after)),
    ]
    return "\n".join(lines)


def _reward(reward: dict[str, Any]) -> str:
    if reward["censored"]:
        return f"Reward: none, {reward['censored']}"
    limits = sum(reward["parts"].values())
    cut = "" if abs(limits - reward["value"]) < 1e-9 else f" (cut from {limits:+.3f})"
    weight = "" if reward["weight"] == 1 else f", counts {reward['weight']:g} times"
    tier = f"; severity tier {reward['tier']}" if "tier" in reward else ""
    veto = f"; veto: {reward['veto']}" if reward.get("veto") else ""
    return f"Reward {reward['value']:+.3f}{cut}: {reward['outcome'].replace('_', ' ')}{weight}{tier}{veto}"


def _event(event: dict[str, Any]) -> str:
    left_out = {"id", "at", "kind", "span_text", "settled_text"}
    told = ", ".join(f"{key} {value}" for key, value in event.items() if key not in left_out and value not in (None, ""))
    return f"{event['at']}  {event['kind']}{f': {told}' if told else ''}"


def _places(snippets: list[dict[str, Any]]) -> str:
    return ": " + ", ".join(f"{one['path']} ({one['kind']})" for one in snippets) if snippets else ""


def _block(text: str) -> str:
    return "\n".join(f"  │ {line}" for line in text.split("\n"))


def _duration(ms: float) -> str:
    seconds = ms / 1000
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
