"""All settings of Equimol, read from the environment (EQUIMOL_NAME, or EQUIMOL_NAME_FILE for a file that
holds the value).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

PREFIX = "EQUIMOL_"


def _default_data_folder() -> Path:
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "equimol"


class Settings(BaseSettings):
    """Where things are, how much is allowed, and how long things take. Durations are in seconds."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", env_nested_delimiter=None
    )

    # --- places -----------------------------------------------------------------------------------------
    data_folder: Path = Field(default_factory=_default_data_folder)
    results_url: str | None = None  # any fsspec URL; None: DATA_FOLDER/results
    redis_url: SecretStr | None = None  # redis://, rediss:// or unix:///path; None: the embedded server
    key_prefix: str = "equimol"  # namespace of all our Redis keys
    weights_folders: list[Path] = Field(default_factory=list)  # beside the built-in models/weights
    plugins: dict[str, str] = Field(default_factory=dict)  # further families: {"family": "package"}

    # --- HTTP face --------------------------------------------------------------------------------------
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    keys_file: Path | None = None  # API keys, hashed; None: DATA_FOLDER/keys.json
    requests_per_minute: int = Field(default=600, ge=0)  # per API key; 0: no limit
    cors_origins: list[str] = Field(default_factory=list)
    max_body_bytes: int = Field(default=32 * 2**20, ge=1024)
    max_wait_seconds: float = Field(default=60.0, ge=0)  # Prefer: wait=N
    event_heartbeat_seconds: float = Field(default=15.0, gt=0)
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    # --- limits of one job --------------------------------------------------------------------------------
    max_molecules: int = Field(default=10_000, ge=1)
    max_atoms: int = Field(default=200, ge=1)  # per molecule
    max_input_bytes: int = Field(default=16 * 2**20, ge=1)
    max_job_evaluations: int = Field(default=10_000_000, ge=1)  # molecules times network calls
    shard_size: int = Field(default=128, ge=1, le=4096)

    # --- bounds of the queue (503) and of one API key (429) ---------------------------------------------
    queue_max_jobs: int = Field(default=1_000, ge=1)
    queue_max_molecules: int = Field(default=200_000, ge=1)
    queue_max_evaluations: int = Field(default=50_000_000, ge=1)
    owner_max_jobs: int = Field(default=100, ge=1)
    owner_max_molecules: int = Field(default=50_000, ge=1)
    busy_retry_seconds: float = Field(default=10.0, gt=0)  # Retry-After of 429 and 503

    # --- retention ----------------------------------------------------------------------------------------
    retention_seconds: float = Field(default=7 * 86_400.0, gt=0)
    idempotency_seconds: float = Field(default=86_400.0, gt=0)
    event_history: int = Field(default=2_000, ge=10)  # events kept per job

    # --- execution: the measured values, see docs/jobs.md -------------------------------------------------
    max_attempts: int = Field(default=3, ge=1)
    lease_seconds: float = Field(default=30.0, gt=0)
    heartbeat_seconds: float = Field(default=5.0, gt=0)
    stall_seconds: float = Field(
        default=300.0, gt=0
    )  # no progress for so long: the worker's child ends itself
    loop_seconds: float = Field(default=120.0, gt=0)  # Celery's loop stands still: the worker ends itself
    visibility_seconds: float = Field(default=60.0, gt=0)  # Celery's redelivery of unacknowledged messages
    restore_seconds: float = Field(default=5.0, gt=0)  # how often Celery looks for them
    lost_message_seconds: float = Field(
        default=15.0, gt=0
    )  # a waiting shard without a message is enqueued again
    reconcile_seconds: float = Field(default=2.0, gt=0)
    progress_seconds: float = Field(default=0.5, ge=0)  # at most one progress event per shard and interval
    shutdown_seconds: float = Field(default=20.0, gt=0)  # after SIGTERM; then the child is killed
    shard_limit_seconds: float = Field(default=6 * 3600.0, gt=0)  # hard limit of one shard

    # --- device -------------------------------------------------------------------------------------------
    device: str = "auto"  # auto, cpu, cuda, cuda:N
    torch_threads: int | None = Field(default=None, ge=1)  # None: torch's own choice
    warm_up: bool = True  # load every model when the worker starts

    @property
    def imported_folder(self) -> Path:
        """Where `equimol import` puts models."""
        return self.data_folder.expanduser().resolve() / "models"

    @property
    def model_folders(self) -> list[Path]:
        """All folders with models beside the built-in one; a later one wins over an earlier one."""
        return [self.imported_folder, *self.weights_folders]

    @property
    def results_root(self) -> str:
        """The folder or URL under which every job has a folder of its own."""
        return self.results_url or str(self.data_folder.expanduser().resolve() / "results")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order: arguments, environment, files named by EQUIMOL_NAME_FILE."""
        return init_settings, env_settings, _FileVariables(settings_cls)


class _FileVariables(PydanticBaseSettingsSource):
    """Reads the value of a field from the file that EQUIMOL_NAME_FILE names (container secrets)."""

    def get_field_value(
        self,
        field: FieldInfo,  # noqa: ARG002
        field_name: str,
    ) -> tuple[Any, str, bool]:
        path = os.environ.get(f"{PREFIX}{field_name.upper()}_FILE")
        value = Path(path).read_text(encoding="utf-8").strip() if path else None
        return value, field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {}
        for name, field in self.settings_cls.model_fields.items():
            value, key, _ = self.get_field_value(field, name)
            if value is not None:
                found[key] = value
        return found
