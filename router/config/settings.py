"""Settings of this process, from the environment (prefix ``ROUTER_``) and from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from router.domain.errors import ConfigError

PREFIX = "ROUTER_"


def _expanded(path: Path) -> Path:
    return path.expanduser()


def _web_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected a whole url such as http://127.0.0.1:8001")
    return url.rstrip("/")


def _split(text: object) -> object:
    return tuple(part.strip() for part in text.split(",") if part.strip()) if isinstance(text, str) else text


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
UserPath = Annotated[Path, AfterValidator(_expanded)]


class Settings(BaseSettings):
    """Where things lie and where the server listens; every field is also an environment variable.

    Attributes:
        data_dir: Store, journal and what is measured on this machine (``ROUTER_DATA_DIR``, and so on).
        cache_dir: What can be fetched or computed again: weights, embeddings.
        models_file: The federation.
        host: Address to listen on.
        port: Port to listen on.
        log_level: Least severe message that is logged.
        log_format: ``text`` for people, ``json`` for programs: one object a line.
        log_prompts: Whether what users ask is logged too.
        chroma_url: A Chroma server shared by several routers; None keeps the store in ``data_dir``.
        embed_threads: CPU threads of the embedder; None leaves it to torch.
        queue: Requests that may wait for a site's slots; one more gets status 429.
        deadline_s: Seconds until an answer has to be whole.
        require_keys: Whether every request needs an API key; always so when listening beyond this machine.
        allow_admin: Whether Ollama's administration (pull, create, delete, ...) is handed on to an Ollama site.
        allowed_hosts: Further names, comma-separated, that requests may give as their host.
        rate_per_minute: POST requests a minute a client may send; None for any number.
        most_body_bytes: Largest request body.
        cors_origins: Origins, comma-separated, whose pages may call the router from a browser.
        grace_s: Seconds that answers under way get to finish when the server is stopped.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, env_ignore_empty=True, extra="forbid")

    data_dir: UserPath = Path(".data")
    cache_dir: UserPath = Field(default_factory=lambda: Path("~/.cache/carbon-router").expanduser())
    models_file: UserPath = Path("models.yaml")
    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=8000, ge=0, le=65535)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"
    log_prompts: bool = False
    chroma_url: Annotated[str, AfterValidator(_web_address)] | None = None
    embed_threads: int | None = Field(default=None, ge=1)
    queue: int = Field(default=64, ge=0)
    deadline_s: float = Field(default=600.0, gt=0, allow_inf_nan=False)
    grace_s: int = Field(default=30, ge=0)
    require_keys: bool = False
    allow_admin: bool = False
    allowed_hosts: CommaSeparated = ()
    rate_per_minute: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    most_body_bytes: int = Field(default=10_000_000, ge=1)
    cors_origins: CommaSeparated = ()

    @property
    def store_dir(self) -> Path:
        """Folder of the measured prompts."""
        return self.data_dir / "store"

    @property
    def journal_file(self) -> Path:
        """The journal of turns."""
        return self.data_dir / "journal.sqlite3"

    @property
    def keys_file(self) -> Path:
        """The API keys, hashed."""
        return self.data_dir / "keys.json"

    @property
    def measurements_dir(self) -> Path:
        """Measurements taken on this machine."""
        return self.data_dir / "measurements"

    @property
    def embeddings_dir(self) -> Path:
        """Embeddings already computed."""
        return self.cache_dir / "embeddings"


def load_settings(**overrides: Any) -> Settings:
    """The settings of this process.

    Args:
        **overrides: Fields given on the command line; None means not given. They win over the environment.

    Raises:
        ConfigError: Naming the variable that cannot be used.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = str(first["loc"][0]) if first["loc"] else ""
        name = field if field in given else f"{PREFIX}{field.upper()}"
        raise ConfigError(
            f"{first['msg']}, not {first['input']!r}", key=name, hint=f"correct or unset {name} and start again"
        ) from error
