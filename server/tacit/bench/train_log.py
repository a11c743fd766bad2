"""The log that `tacit bench train` trains on: real lines of an installed package as the written text, drawn as if by an engine.

Pure but for reading the package's sources. Half of the draws are what was written and were kept; the others begin like it and go
on like another place, and were typed over. Their log-probabilities are made up: what a step costs does not depend on them.
"""

from dataclasses import dataclass
from random import Random
from typing import Final

from tacit.bench.gate_house import Detokenize, Drawn, Place, Tokenize, record
from tacit.learner.baseline import advantages
from tacit.learner.samples import Sample, sample_of
from tacit.learner.simulate.plan import choose_sources, package_folder
from tacit.learner.simulate.trl_kto import rows
from tacit.protocol.completion import Context
from tacit.protocol.errors import BadRequest

PACKAGE: Final = "peft"
PLACES_PER_FILE: Final = 12
LOGPROB: Final = -1.0


@dataclass(frozen=True, slots=True)
class Log:
    samples: list[Sample]
    advantages: list[float]


def places(count: int, prefix_chars: int, suffix_chars: int, seed: int) -> list[Place]:
    """One-line holes with the code around them, in the order of the files. BadRequest if the package has fewer."""
    files = -(-2 * count // PLACES_PER_FILE)
    found: list[Place] = []
    for source in choose_sources(package_folder(PACKAGE), files, seed, PLACES_PER_FILE):
        for hole in source.places:
            end = source.text.find("\n", hole.pause)
            written = source.text[hole.pause : end]
            if end < hole.pause or len(written.strip()) < 6:
                continue
            prefix = source.text[max(0, hole.pause - prefix_chars) : hole.pause]
            suffix = source.text[end : end + suffix_chars]
            found.append(Place(Context(path=source.path, language="python", prefix=prefix, suffix=suffix), written))
    if len(found) < count:
        raise BadRequest(f"{PACKAGE} has {len(found)} places of this kind, not {count}.", mend="Ask for fewer samples.")
    return found[:count]


def made(found: list[Place], max_length: int, seed: int, tokenize: Tokenize, detokenize: Detokenize, model: str) -> Log:
    """The log of these places. max_length: tokens of prompt and text; longer ones are left out, for every trainer alike."""
    draw = Random(seed)
    samples = []
    for number, place in enumerate(found):
        other = found[(number + 1 + draw.randrange(len(found) - 1)) % len(found)].written
        text = place.written if number % 2 else place.written[: len(place.written) * 2 // 3] + other[-len(place.written) // 3 :]
        tokens = tuple(tokenize(text))
        drawn = Drawn(detokenize(tokens), tokens, (LOGPROB,) * len(tokens))
        sample = sample_of(record(number, place, drawn, model), tokenize, detokenize, model)
        if len(sample.prompt) + max(len(sample.tokens), len(sample.written_tokens)) <= max_length:
            samples.append(sample)
    return Log(samples, advantages(samples))


def texts(log: Log, objective: str) -> list[tuple[int, int]]:
    """(prompt tokens, target tokens) of each text that a trainer of this objective is given: what the bench counts.

    `sft`: what was written, where it is learned from; `kto` and `topr`: that, and each draw with an advantage.
    """
    if objective == "sft":
        return [(len(s.prompt), len(s.written_tokens)) for s in log.samples if s.hindsight > 0]
    return [(len(row["prompt_ids"]), len(row["completion_ids"])) for row in rows(log.samples, log.advantages)]
