"""Is this folder the adapter that its learner published, and does the engine compute it? Reads files; changes nothing.

Everything is checked before a byte of it reaches an engine: safetensors alone accepts zeroed and flipped tensors.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tacit.protocol.adapters import ADAPTER_FILES, ADAPTER_NAME, MANIFEST, Manifest, Probe, ProbeRequest
from tacit.protocol.errors import NotFound, Refused
from tacit.server.engine.interface import Drawn, Engine, Sampling

PROBE_TOLERANCE = 0.05
"""Mean |Δ log-probability|, nats, between what the learner recorded and what the engine computes."""
ENOUGH_COMPARED = 0.5
"""Share of the recorded tokens that must be reached before the two continuations part: near-ties may be broken either way."""
LARGEST_JSON = 10_000_000


def folder_of(adapters: Path, name: str) -> Path:
    """The adapter's folder, inside `adapters` whatever links there are. NotFound: none, or no name that an adapter has."""
    if not ADAPTER_NAME.fullmatch(name):
        raise NotFound(
            f"There is no adapter `{name[:80]}`.", mend="Names look like `abc-c@000042`; `tacit adapters list` shows them."
        )
    folder = (adapters / name).resolve()
    if not folder.is_dir():
        raise NotFound(f"There is no adapter `{name}`.", mend="`tacit adapters list` shows those that exist.")
    if folder != adapters.resolve() / name:
        raise Refused(f"The adapter `{name}` lies outside {adapters}.", mend="Remove that link.")
    return folder


def verify(adapters: Path, name: str, base_sha256: str) -> Manifest:
    """The manifest of a complete, unchanged adapter for this base. Reads every byte of it. Refused says what is wrong."""
    folder = folder_of(adapters, name)
    manifest = read_manifest(folder)
    if manifest.name != name:
        raise Refused(f"The manifest in {folder} is that of `{manifest.name}`.", mend="Adapters cannot be renamed.")
    if manifest.base_sha256 != base_sha256:
        raise Refused(
            f"The adapter `{name}` was made for the base model {manifest.base_sha256[:12]}…, and {base_sha256[:12]}… is serving.",
            mend="Set `model` to that base, or learn anew on this one.",
        )
    if missing := set(ADAPTER_FILES) - manifest.files.keys():
        raise Refused(f"The manifest of `{name}` does not list {', '.join(sorted(missing))}.", mend="Learn anew.")
    present = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()}
    if extra := present - manifest.files.keys() - {MANIFEST}:
        raise Refused(f"The adapter `{name}` holds files that its manifest does not list: {', '.join(sorted(extra))[:200]}.")
    for file, expected in manifest.files.items():
        path = folder / file
        if path.is_symlink() or not path.is_file():
            raise Refused(f"The adapter `{name}` lacks {file}, or it is no plain file.", mend=_damaged(name))
        if path.stat().st_size != expected.size or _digest(path) != expected.sha256:
            raise Refused(
                f"{file} of the adapter `{name}` is not what was published: size or sha256 differ.", mend=_damaged(name)
            )
    return manifest


def _damaged(name: str) -> str:
    return f"Restore {name} from a backup of its folder, or learn anew."


def read_manifest(folder: Path) -> Manifest:
    """Refused: none (the folder is not complete), or not a valid one."""
    path = folder / MANIFEST
    if path.is_symlink() or not path.is_file():
        raise Refused(f"{folder} has no {MANIFEST}: it was never completed.", mend="Learn anew.")
    try:
        return Manifest.model_validate_json(_small(path))
    except ValidationError as error:
        raise Refused(f"{path} is not a valid manifest: {error.errors()[0]['msg']}.", mend="Learn anew.") from error


def read_report(folder: Path) -> dict[str, Any]:
    """`report.json`. Refused: it is not a JSON object."""
    try:
        report = json.loads(_small(folder / "report.json"))
    except (OSError, ValueError) as error:
        raise Refused(f"The report in {folder} cannot be read: {error}.", mend="Learn anew.") from error
    if not isinstance(report, dict):
        raise Refused(f"The report in {folder} is not a JSON object.", mend="Learn anew.")
    return report


def recorded_probes(report: dict[str, Any]) -> tuple[Probe, ...]:
    """Refused: they are not probes."""
    try:
        return tuple(Probe.model_validate(probe) for probe in report.get("probes") or ())
    except (ValidationError, TypeError) as error:
        raise Refused("The probes in the adapter's report are not valid.", mend="Learn anew.") from error


def count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())


async def probe(engine: Engine, prompt: Sequence[int], max_tokens: int, adapter: str | None) -> Probe:
    """The engine's greedy continuation. It ranks as a completion: behind those, a swap would wait for as long as all slots of the
    engine are in use."""
    async with aclosing(engine.generate(prompt, Sampling(max_tokens, 0.0, 0), adapter)) as items:
        drawn = [item async for item in items if isinstance(item, Drawn)]
    return Probe(prompt=tuple(prompt), tokens=tuple(item.token for item in drawn), logprobs=tuple(item.logprob for item in drawn))


async def probe_all(engine: Engine, request: ProbeRequest, adapter: str | None) -> tuple[Probe, ...]:
    return tuple([await probe(engine, prompt, request.max_tokens, adapter) for prompt in request.prompts])


async def check_in_engine(engine: Engine, name: str, recorded: Sequence[Probe]) -> None:
    """Refused: the engine does not compute with `name` what the learner computed. Without a record: it must answer."""
    if not recorded:
        answer = await probe(engine, [engine.fim.prefix, engine.fim.suffix, engine.fim.middle], 1, name)
        if not answer.tokens:
            raise Refused(f"The engine gives no answer with the adapter `{name}`.", mend="Learn anew.")
        return
    answers = [await probe(engine, known.prompt, max(1, len(known.tokens)), name) for known in recorded]
    if why := disagreement(recorded, answers):
        raise Refused(f"The engine does not compute what the learner computed with `{name}`: {why}.", mend="Learn anew.")


def disagreement(recorded: Sequence[Probe], answers: Sequence[Probe]) -> str:
    """Why two sets of continuations are not those of one model; empty if they are. Compared until they part."""
    differences: list[float] = []
    for known, answer in zip(recorded, answers, strict=True):
        for token, logprob, other, found in zip(known.tokens, known.logprobs, answer.tokens, answer.logprobs, strict=False):
            if token != other:
                break
            differences.append(abs(logprob - found))
    total = sum(len(known.tokens) for known in recorded)
    if len(differences) < ENOUGH_COMPARED * total:
        return f"only {len(differences)} of {total} tokens are the same"
    mean = sum(differences) / max(1, len(differences))
    if not mean < PROBE_TOLERANCE:
        return f"log-probabilities differ by {mean:.3f} on average, allowed are {PROBE_TOLERANCE}"
    return ""


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _small(path: Path) -> bytes:
    if path.stat().st_size > LARGEST_JSON:
        raise Refused(f"{path} is larger than it can be.", mend="Learn anew.")
    return path.read_bytes()
