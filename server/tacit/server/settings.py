"""The server's settings: `TACIT_HOME/config.toml`, each overridable by `TACIT_<NAME>`. Reads files and the environment only."""

import os
import tomllib
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tacit.protocol.errors import SettingError
from tacit.protocol.home import Home


class Settings(BaseModel):
    """Every setting has a default that works. A bad one is an error that names the key, where it is set and what is allowed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = "auto"
    """Catalogue name of the base model (`tacit models list`); `auto` picks by hardware."""
    engine: Literal["embedded", "vllm"] = "embedded"
    """What runs the model: `embedded` is llama.cpp in a child process; `vllm` is vLLM, in an environment of its own."""
    vllm_url: str = Field(default="", pattern=r"^(https?://[^/]+/?)?$")
    """A vLLM that somebody else runs, http(s)://HOST:PORT; empty: one is started here. It has to serve what `model` says."""
    vllm_python: str = ""
    """The Python that has vLLM; empty: the environment that `tacit engines install` made."""
    vllm_gpus: int = Field(default=1, ge=1, le=64)
    """On so many GPUs vLLM lays the model out (tensor parallelism)."""
    vllm_guesses: int = Field(default=0, ge=0, le=16)
    """Tokens that vLLM guesses at once from what stands in the prompt (n-gram speculative decoding); 0: none."""
    while_learning: Literal["auto", "beside", "sleep", "stop"] = "auto"
    """What serving does while the learner trains on the same machine: `auto` decides by memory."""
    threads: int = Field(default=0, ge=0, le=1024)
    """Engine threads; 0: all cores but one (both of two), at most 16."""
    context_tokens: int = Field(default=4096, ge=512, le=131_072)
    """Length of the engine's context, per stream."""
    streams: int = Field(default=4, ge=1, le=64)
    """How many requests the engine works on at once."""
    temperature: float = Field(default=0.3, ge=0.05, le=2.0)
    """Sampling temperature of completions. Above zero, so that each draw has a propensity to learn from."""
    max_tokens: int = Field(default=48, ge=1, le=512)
    """Longest completion, in tokens."""
    nightly: str = "0 3 * * *"
    """When the learner runs: a cron expression in local time, or `off`."""
    objective: Literal["topr", "sft", "rwr", "awr", "kto", "dpo", "ppo", "grpo"] = "topr"
    """What the learner optimises."""
    min_samples: int = Field(default=200, ge=1)
    """A night with fewer labelled suggestions is skipped."""
    min_debug_samples: int = Field(default=50, ge=1)
    """The same of answers about errors. Fewer, since people ask far less often than they are shown completions, and one answer is
    up to three draws of a hundred tokens: fifty hold as many as a thousand completions, and leave eight to be held out."""
    canary_share: float = Field(default=0.10, ge=0, le=0.5)
    """Share of a project's sessions that a version gets first which the gate could not judge; 0: it serves all at once."""
    shadow_places: int = Field(default=40, ge=0, le=1000)
    """Places of the day at which such a version is drawn with before that, unseen and only while nobody waits for the engine; 0:
    none."""
    processes: int = Field(default=0, ge=0, le=64)
    """That train together (torchrun); 0: one for each GPU, one where there is none."""
    metrics: Literal["off", "tensorboard"] = "off"
    """Where the metrics of each training step go, besides the run's folder."""
    reward_model: Literal["trees", "lora"] = "trees"
    """From what the show policy learns: `trees` on cheap features, or `lora`, a head on the base from which they are distilled,
    which on a CPU can cost more than the night's training."""
    listen: str = Field(default="", pattern=r"^((127\.\d{1,3}\.\d{1,3}\.\d{1,3}|localhost|\[::1\]):\d{1,5})?$")
    """HOST:PORT of this machine on which a team is answered, by tokens, behind a proxy that speaks TLS; empty: nobody is."""
    public_hosts: str = ""
    """By what names, separated by commas, clients reach it besides this machine's own: those of the proxy."""
    requests_per_minute: int = Field(default=300, ge=1)
    """Completions, fixes, answers that one user of a team may ask for."""
    events_per_minute: int = Field(default=6000, ge=1)
    """Events that one user of a team may send."""
    database_url: str = Field(default="", repr=False)
    """postgresql://USER@HOST:PORT/DATABASE; empty: SQLite in TACIT_HOME."""
    share_between_projects: bool = True
    """Projects with few suggestions learn together, and are served by what all of them taught. Never where a team is answered."""
    retention_days: int = Field(default=90, ge=1, le=3650)
    """Suggestions and events older than this are deleted."""
    keep_adapters: int = Field(default=5, ge=2, le=1000)
    """How many versions of each project's adapter stay on disk, the serving one and the one before it always."""

    @classmethod
    def load(cls, home: Home) -> "Settings":
        """config.toml, then the environment. SettingError for anything that cannot be used."""
        values: dict[str, Any] = {}
        try:
            values = tomllib.loads(home.config.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            raise SettingError(f"{home.config} cannot be read: {error.strerror}.", mend="Correct it or remove it.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingError(f"{home.config} is not valid TOML: {error}.", mend="Correct it or remove it.") from error
        for name in cls.model_fields:
            if (value := os.environ.get(variable(name))) is not None:
                values[name] = value
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else ""
            allowed = ", ".join(sorted(cls.model_fields))
            why = f"there is no such setting; there are: {allowed}" if first["type"] == "extra_forbidden" else first["msg"]
            raise unusable(home, name, why) from error


def variable(name: str) -> str:
    """The environment variable that overrides a setting."""
    return f"TACIT_{name.upper()}"


def unusable(home: Home, name: str, why: str, mend: str = "") -> SettingError:
    """The error for a setting's value: says where that value comes from. mend: what is allowed, a sentence."""
    if name in Settings.model_fields and variable(name) in os.environ:
        where, correct = f"{variable(name)} in the environment", f"Correct or unset {variable(name)}."
    else:
        where, correct = str(home.config), f"Correct it in {home.config}."
    return SettingError(f"Setting `{name}`, from {where}, cannot be used: {why}.", mend=f"{correct} {mend}".strip())
