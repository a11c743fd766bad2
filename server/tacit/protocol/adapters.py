"""Wire types of adapters and learning runs: the manifest on disk, `/v1/adapters`, `/v1/runs`. Pure data."""

import re
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from tacit.protocol.completion import BASE_POLICY, CompleteResponse, Context, Task, Wire

ADAPTER_NAME = re.compile(r"^[a-z0-9][a-z0-9-]{0,40}@\d{6}$")

SHARED = "shared"
"""In a project's place: the adapters that serve every project without one of its own, learned from all of them. No project's id
looks like it."""

MANIFEST = "manifest.json"
"""Written last and synced: a folder that has one is complete."""

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "report.json", "lineage.jsonl")

RunState = Literal["running", "published", "skipped", "refused", "failed", "interrupted"]
"""published: an adapter serves, or is tried as a canary. skipped: too few samples. refused: the gate said no. failed: an error.
interrupted: the learner's process ended without saying why."""

AdapterState = Literal["live", "canary", "shadow", "retired", "published"]
"""live: serves its project. canary: serves some of its sessions, compared with what serves the others. shadow: drawn with where
nobody sees it. published: verified, not serving. retired: served or was tried once, replaced or rolled back."""

CanaryEnd = Literal["shadow", "running", "promoted", "rolled_back", "replaced", "withdrawn"]
"""The first two have not ended. shadow: it is drawn with at places of the day while nobody waits, and nothing of it is shown.
running: it answers some sessions. promoted: it serves all. rolled_back: it was worse, or the engine failed on it. replaced:
another adapter was published. withdrawn: by a person."""

UNDER_WAY = ("shadow", "running")


class FileDigest(Wire):
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)


class Manifest(Wire):
    """`manifest.json` of an adapter folder."""

    format: Literal[1] = 1
    name: str = Field(pattern=ADAPTER_NAME.pattern)
    project: str
    task: Task
    run_id: str
    parent: str
    """policy_version that training continued from: `base` or an adapter's name."""
    projects: tuple[str, ...] = ()
    """Those that it learned from, itself and by its ancestors; empty in manifests that were written before this was: its own."""
    base_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Of the base model's GGUF file."""
    tokenizer_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Of the vocabulary that the samples were tokenised with, as id and text in order of id."""
    created_at: datetime
    files: dict[str, FileDigest]


class Probe(Wire):
    """A greedy continuation and its log-probabilities: shows that an engine computes what PEFT computes."""

    prompt: tuple[int, ...] = Field(min_length=1, max_length=2048)
    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    """Natural logarithms at temperature 1."""


class ProbeRequest(Wire):
    """`POST /v1/runs/{id}/probe`: load the run's candidate beside the serving model and continue these prompts greedily."""

    prompts: tuple[tuple[int, ...], ...] = Field(min_length=1, max_length=256)
    max_tokens: int = Field(default=4, ge=1, le=32)


class ProbeResponse(Wire):
    candidate: tuple[Probe, ...]
    base: tuple[Probe, ...]
    """The same prompts under the base, to show that the candidate differs from it."""


class AdapterInfo(Wire):
    name: str
    project: str
    task: Task
    state: AdapterState
    created_at: datetime
    run_id: str
    parent: str
    base_sha256: str
    summary: str = ""
    """One line of its report."""


class ShadowDraw(Wire):
    """What one version would have done at a place. Its text is not kept."""

    chars: int = Field(ge=0)
    """Of what would have been shown; 0: nothing."""
    tokens: int = Field(ge=0)
    ms: float = Field(ge=0)
    """From the first token to the last."""


class ShadowPlace(Wire):
    """One settled suggestion's place, drawn again with both versions."""

    suggestion_id: str = Field(max_length=64)
    gain: float | None = Field(default=None, ge=-1, le=1)
    """How much nearer the candidate's text is to what was written, in units of reward. None: what was written there is partly
    what was shown, which favours the version that showed it."""
    candidate: ShadowDraw
    live: ShadowDraw


class CanaryInfo(Wire):
    """A version that answers some of a project's sessions beside the one that answers the others, or is drawn with unseen; and
    how that ended."""

    project: str
    task: Task
    adapter: str
    live: str
    """policy_version of the other sessions: what it is compared with."""
    share: float = Field(ge=0, le=1)
    """Of the sessions; one is answered by the same version from its beginning to its end."""
    state: CanaryEnd = "running"
    started_at: datetime
    ended_at: datetime | None = None
    reason: str = ""
    """Why it ended, or what is known so far, for a person."""
    judged_at: datetime | None = None
    """When feedback was last read; None: not yet."""
    canary_stretches: int = 0
    live_stretches: int = 0
    """Stretches of work without a pause whose mean rewards were compared."""
    low: float = -2.0
    high: float = 2.0
    """Of the difference of mean rewards, canary less live: an interval that holds whenever one looks."""
    wanted_places: int = 0
    """At so many places it is drawn with unseen before it answers anybody; 0: at none."""
    places: tuple[ShadowPlace, ...] = Field(default=(), max_length=1000)


class AdapterDetail(Wire):
    info: AdapterInfo
    manifest: Manifest
    report: dict[str, Any]
    samples: int
    """Lines of its lineage."""
    tried: CanaryInfo | None = None
    """How it was tried out before it served, if it was."""


class CanaryJudgement(Wire):
    """`POST /v1/canaries/judge`: what the learner found in the feedback so far."""

    project: str
    task: Task
    adapter: str
    verdict: Literal["undecided", "canary", "promote", "rollback"]
    """canary: of a shadow, that it may answer some sessions. promote: of a canary, that it may answer all."""
    started_at: datetime | None = None
    """Of the comparison that this is about: one that has begun anew since is not judged by it. None: whichever there is."""
    message: str = Field(max_length=2000)
    canary_stretches: int = Field(default=0, ge=0)
    live_stretches: int = Field(default=0, ge=0)
    low: float = -2.0
    high: float = 2.0
    places: tuple[ShadowPlace, ...] = Field(default=(), max_length=1000)
    """Of a shadow: all so far."""


class ShadowRequest(Wire):
    """`POST /v1/canaries/draw`: what would a shadow say here, what serves? Answered only while nobody waits for the engine."""

    project: str
    task: Task
    adapter: str
    context: Context
    seed: int = Field(ge=0, lt=2**31)
    candidate_first: bool = True


class ShadowAnswer(Wire):
    candidate: CompleteResponse
    live: CompleteResponse


class RunRequest(Wire):
    """`POST /v1/runs`: claim the one learning slot for this process."""

    project: str
    task: Task = "completion"
    objective: str = "topr"
    trigger: Literal["nightly", "manual"] = "manual"
    pid: int = Field(gt=0)
    """Of the learner's process: the run ends as `interrupted` when it is gone."""


class RunInfo(Wire):
    id: str
    project: str
    task: Task
    objective: str
    trigger: Literal["nightly", "manual"]
    state: RunState
    pid: int
    stage: str = ""
    done: int = 0
    total: int = 0
    message: str = ""
    adapter: str
    """The name reserved for what this run will publish; never used by another run."""
    parent: str
    """policy_version now live for the project: training continues from it."""
    started_at: datetime
    finished_at: datetime | None = None


class RunUpdate(Wire):
    """`POST /v1/runs/{id}`: progress, or the end."""

    stage: str = ""
    done: int = 0
    total: int = 0
    state: RunState = "running"
    message: str = Field(default="", max_length=20_000)


class ProjectInfo(Wire):
    """`GET /v1/projects`."""

    project: str
    suggestions: int
    labelled: int
    """Suggestions that were shown and have a decision (accepted, typed through, rejected or rated)."""
    policy_version: str
    """What completes there: its own adapter, else the shared one, else the base."""
    debug_policy_version: str = BASE_POLICY
    """The same for fixes, explanations and chat."""
    shares: bool = True
    """The shared adapters learn from it, and serve it where it has none of its own."""


class ServerLoad(Wire):
    """How it goes just now. First tokens and speed are of the last completions and answers, at most 1,000 of each."""

    waiting: int
    """Requests that have no token yet: the engine is busy, or reads their prompt, or, in a team, their turn has not come."""
    answering: int
    """Requests that have one and are not finished."""
    recent: int = 0
    """Completions that the next two are of."""
    first_token_p50_ms: float | None = None
    """From asking the engine to a completion's first token; None: there was none yet."""
    first_token_p95_ms: float | None = None
    tokens_per_second: float | None = None
    """Of one answer, behind its first token."""
    prefix_cache_hits: float | None = None
    """Share of the prompts' tokens that the engine knew from before, since the server was started."""
    prefix_cache_at: datetime | None = None
    """When the engine said so, where it does not answer just now; None: it has said so now."""
    swaps_done: int = 0
    """Promotions, canaries begun and rollbacks since the server was started."""
    swaps_refused: int = 0
    swaps_failed: int = 0
    training_share: float = 0.0
    """Of the last 24 hours, in which a learning run was under way."""


class RestInfo(Wire):
    """Serving rests while the learner trains on the same machine."""

    mode: Literal["sleep", "stop"]
    since: datetime
    back_at: datetime | None = None
    """About; None: nothing tells."""
    stand_in: bool = False
    """An embedded engine on the processor answers meanwhile, more slowly."""


class ServerStatus(Wire):
    """`GET /v1/status`."""

    version: str
    pid: int
    home: str
    started_at: datetime
    engine: str
    engine_ready: bool
    engine_message: str = ""
    model: str
    """Catalogue name."""
    model_sha256: str
    model_path: str
    """The base model's GGUF file; empty while it is being fetched."""
    prefix_chars: int
    """How much code before the cursor this engine can read within a reasonable time; clients cut the context to it."""
    suffix_chars: int
    """The same after the cursor. Short on a CPU: it is computed anew at every keystroke, since it follows the prefix."""
    snippet_tokens: int = 0
    """Tokens of other places in the workspace that this engine can read besides; 0: none."""
    learning_gpus: tuple[int, ...] = ()
    """Those that a learner may use here, as `nvidia-smi` counts them; empty: whichever it finds."""
    while_learning: str = ""
    """What serving does while the learner trains, and why, for a person; empty: not known yet."""
    resting: RestInfo | None = None
    projects: tuple[ProjectInfo, ...]
    next_run: datetime | None
    running: RunInfo | None
    last_run: RunInfo | None
    events: int
    requests: int
    canary_share: float = 0.0
    """Of a project's sessions that a version gets which the gate could not judge; 0: such a version serves all at once."""
    shadow_places: int = 0
    """At so many places it is drawn with unseen before that; 0: at none."""
    canaries: tuple[CanaryInfo, ...] = ()
    """Those under way, shadows among them."""
    shared: str = BASE_POLICY
    """policy_version of projects without an adapter of their own."""
    shared_debug: str = BASE_POLICY
    listen: str = ""
    """HOST:PORT on which a team is answered; empty: on none."""
    load: ServerLoad | None = None
    """The operator's; None: for a user of a team."""
    notices: tuple[str, ...] = ()
    """What a person should know: an adapter that could not be loaded, a database that was restored."""
