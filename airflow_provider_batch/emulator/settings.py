"""
Define the settings of the emulator: given at the start, changed through `/_emulator/settings`.

Settings belong to one server process. They are not stored: each start has to give them again. Faults, batches and
files are stored.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from airflow_provider_batch.api.service import Service
from airflow_provider_batch.emulator.services.table import NAMES, facts, preset

#: Seconds from a batch's creation to its expiry; divided by `clock_speed`.
COMPLETION_WINDOW = 86_400.0
#: Epoch seconds at which a batch expires that does not: in the year 2255.
NEVER = 9e9
#: Seconds that the files of a batch are kept by default; divided by `clock_speed`.
FILE_LIFETIME = 30 * 86_400.0
#: Seconds that an Upload can take parts; divided by `clock_speed`.
UPLOAD_LIFETIME = 3_600.0

Phase = Literal["validating", "finalizing", "expiring", "cancelling"]


@dataclass(frozen=True)
class Progress:
    """
    How a batch progresses: at once, over some seconds, over some reads, or not at all.

    :param mode: "immediate", "seconds", "reads" or "hold".
    :param amount: Seconds or number of reads until the batch ends.
    """

    mode: Literal["immediate", "seconds", "reads", "hold"]
    amount: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Progress:
        """
        Read `immediate`, `hold`, `seconds:5` or `reads:3`.

        :param text: Value of the setting `progress`.
        :raises ValueError: The text has another form.
        """
        mode, _, amount = text.partition(":")
        match mode:
            case "immediate" | "hold" if not amount:
                return cls(mode)
            case "seconds":
                return cls(mode, max(0.0, float(amount)))
            case "reads":
                return cls(mode, max(1, int(amount)))
        raise ValueError(f"expected 'immediate', 'hold', 'seconds:N' or 'reads:N', found {text!r}")


def _valid_progress(text: str) -> str:
    Progress.parse(text)
    return text


def _valid_url(text: str | None) -> str | None:
    parts = urlsplit(text or "http://none")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"expected a URL such as http://localhost:8000/v1, found {text!r}")
    return text


def _valid_service(name: str) -> str:
    if name not in NAMES:
        raise ValueError(f"expected one of {', '.join(NAMES)}, found {name!r}")
    return name


class Settings(BaseModel):
    """All settings of an emulator; each has its meaning in `description`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    service: Annotated[str, AfterValidator(_valid_service)] = Field(
        default="openai",
        description="The service in whose manner it answers, with its addresses and limits; others are taken from "
        f"documentation: {', '.join(NAMES)}.",
    )
    progress: Annotated[str, AfterValidator(_valid_progress)] = Field(
        default="immediate", description="immediate, hold, seconds:N or reads:N (a retrieve and a list are reads)."
    )
    validating_seconds: float = Field(
        default=0.0, ge=0, description="Seconds that a batch stays in validating; OpenAI: a minute, at times 15."
    )
    finalizing_seconds: float = Field(
        default=0.0, ge=0, description="Seconds that a batch stays in finalizing; OpenAI: from 2 seconds on."
    )
    expiring_seconds: float = Field(
        default=0.0, ge=0, description="Seconds from `finalizing_at` to `expired_at`; OpenAI: about 600."
    )
    cancelling_seconds: float = Field(
        default=0.0, ge=0, description="Seconds that a batch stays in cancelling; OpenAI: about 600."
    )
    clock_speed: float = Field(
        default=1.0,
        gt=0,
        description="Divides the four times above, the 24 h window and file lifetimes: 8640 makes 24 hours 10 seconds.",
    )
    max_requests: int = Field(default=50_000, ge=1, description="Maximum of requests in one batch.")
    max_file_bytes: int = Field(default=209_715_200, ge=1, description="Maximum of bytes in one batch input file.")
    max_upload_bytes: int = Field(
        default=536_870_912, ge=1, description="Maximum of bytes in any upload; above it the answer is 413."
    )
    max_part_bytes: int = Field(
        default=67_108_864, ge=1, description="Maximum of bytes in a part of an Upload; above it the answer is 413."
    )
    max_embedding_inputs: int = Field(default=50_000, ge=1, description="Maximum of embedding inputs in one file.")
    max_batches_per_hour: int | None = Field(
        default=2_000, description="Maximum of create calls in one hour; above it the answer is 429. null for no limit."
    )
    enqueued_token_limit: int | dict[str, int] | None = Field(
        default=None,
        description="Limit on input tokens in unfinished batches of one model: a number, or one by model.",
    )
    token_limit_answer: Literal["failed_batch", "400", "429"] = Field(
        default="failed_batch",
        description="How the token limit is reported: by a failed batch, or by the create call with this status.",
    )
    unknown_file: Literal["failed_batch", "400"] = Field(
        default="failed_batch",
        description="How an unknown input file is reported: by a failed batch, or by the create call as in 2024.",
    )
    checks_uploads: bool = Field(
        default=True, description="An upload of a batch file without a line of JSON is refused with 400."
    )
    batch_object: Literal["2026", "2024"] = Field(
        default="2026", description="Fields of Batch objects; those of 2024 have neither `model` nor `usage`."
    )
    models: list[str] | None = Field(default=None, description="Model names that are accepted; null accepts any.")
    shutdown_dates: dict[str, datetime.date] = Field(
        default={},
        description="Last day of a model, by name: shown by the models route; later the model is missing.",
    )
    dated_models: bool = Field(
        default=True, description="Answers name the dated snapshot of a well-known model, as the API does."
    )
    embedding_sizes: dict[str, int] = Field(
        default={}, description="Numbers in an embedding by model, for requests without `dimensions`."
    )
    api_keys: list[str] | None = Field(
        default=None, description="API keys that are accepted; null accepts any that is not empty."
    )
    organization: str = Field(default="org-emulator", description="Name of the organization in messages.")
    project: str = Field(default="proj_emulator", description="Name of the project in messages.")
    result_style: Literal["ascii", "compact"] = Field(
        default="ascii", description="Result lines as Python's json.dumps writes them, or compact UTF-8."
    )
    shuffle: bool = Field(default=True, description="Results have another order than the requests.")
    always_error_file: bool = Field(
        default=False, description="An ended batch without errors has an error file of 0 bytes."
    )
    list_order: Literal["newest_first", "oldest_first", "shuffled"] = Field(
        default="newest_first", description="Order of the list of batches; shuffled is a new order at each call."
    )
    list_paging: Literal["honest", "ignores_after", "ends_early", "empty_page"] = Field(
        default="honest",
        description="The list ignores `after`, says of each page that it is the last, or has empty pages in between.",
    )
    list_shows: int | None = Field(default=None, ge=1, description="The list shows at most so many batches; null: all.")
    list_lag: float = Field(default=0.0, ge=0, description="Seconds until the list shows a new batch.")
    keeps_metadata: bool = Field(default=True, description="Batches are shown with their metadata; else with null.")
    clock_skew: float = Field(
        default=0.0, description="Seconds by which the API's clock is ahead, in `created_at`, other times and `Date`."
    )
    tells_time: bool = Field(default=True, description="Answers have a `Date` header.")
    latency: float = Field(default=0.0, ge=0, description="Seconds added to each answer of the API.")
    workers: int = Field(default=2, ge=1, le=32, description="Threads that execute batches; read at the start only.")
    upstream: Annotated[str | None, AfterValidator(_valid_url)] = Field(
        default=None, description="Base URL of an OpenAI-compatible server (with its /v1) that answers each request."
    )
    upstream_api_key: str = Field(default="emulator", description="API key that is sent to the upstream.", repr=False)
    upstream_concurrency: int = Field(
        default=8, ge=1, le=256, description="Requests that one batch sends to the upstream at one time."
    )
    upstream_timeout: float = Field(default=120.0, gt=0, description="Seconds to wait for one answer of the upstream.")

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, given: Any) -> Any:
        """Take the limits of the service for settings that are not given."""
        name = given.get("service") if isinstance(given, dict) else None
        return {**preset(name), **given} if name in NAMES else given

    @classmethod
    def of_service(cls, name: str) -> dict[str, Any]:
        """
        Return all settings that follow from a service, also where another service has changed them before.

        :param name: Name of the service.
        """
        followed = {setting for one in NAMES for setting in preset(one)}
        return {setting: cls.model_fields[setting].default for setting in followed} | preset(name)

    @property
    def facts(self) -> Service:
        """What the service takes."""
        return facts(self.service)

    @property
    def pace(self) -> Progress:
        """The setting `progress`, parsed."""
        return Progress.parse(self.progress)

    def has_model(self, model: str) -> bool:
        """
        Say whether a model is available: `models` allows it, and its last day is not over.

        :param model: Name of the model.
        """
        last = self.shutdown_dates.get(model)
        is_over = last is not None and last < datetime.datetime.now(datetime.UTC).date()
        return not is_over and (self.models is None or model in self.models)

    def seconds(self, phase: Phase) -> float:
        """
        Return how long a phase of a batch lasts, in seconds of this machine's clock.

        :param phase: Phase, whose setting is `<phase>_seconds`.
        """
        return float(getattr(self, f"{phase}_seconds")) / self.clock_speed

    @property
    def window(self) -> float:
        """Seconds from a batch's creation to its expiry."""
        return COMPLETION_WINDOW / self.clock_speed

    def token_limit(self, model: str | None) -> int | None:
        """
        Return the maximum of enqueued input tokens; None for no maximum.

        :param model: Name of the model; None where a batch names none.
        """
        if isinstance(self.enqueued_token_limit, dict):
            return self.enqueued_token_limit.get(model or "")
        return self.enqueued_token_limit
