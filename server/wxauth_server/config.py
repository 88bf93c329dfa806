"""What an operator can set: a TOML file and WXAUTH_… variables, checked at start.

Without a file and without variables this is the development setting: one demo
mini-program that talks to the sandbox.
"""

from __future__ import annotations

import functools
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Self, TypeAlias

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings.exceptions import SettingsError

from wxauth_client.credentials import names as credential_names
from wxauth_client.file_watch import FileUnusable
from wxauth_client.guarded_file import read_guarded_file
from wxauth_gateway.settings import GatewaySettings
from wxauth_server.accounts.sources.http_source_settings import HttpSourceSettings
from wxauth_server.accounts.sources.source import LOCAL
from wxauth_server.accounts.sources.sql_source_settings import SqlSourceSettings
from wxauth_server.apps import App
from wxauth_server.auth.session_cache_settings import SessionCacheSettings
from wxauth_server.callers.callers_file import FILE_NAME as CALLERS_NAME
from wxauth_server.keyring import FILE_NAME as KEYRING_NAME
from wxauth_server.settings import (
    WECHAT_URL,
    AppSettings,
    AuditSettings,
    CallersSettings,
    ConfigurationError,
    GrpcSettings,
    KeyringSettings,
    LogSettings,
    PasswordSettings,
    ThrottleSettings,
    WeChatSettings,
)
from wxauth_server.store.settings import StoreSettings

#: Read when neither a flag nor WXAUTH_CONFIG names another file.
DEFAULT_FILE = Path("wxauth.toml")

SANDBOX_LISTEN = "127.0.0.1:8090"

DEMO_APP_ID = "wxdec0de0000000001"
#: Known to everybody who reads this: good for the sandbox only.
DEMO_APP_SECRET = "0123456789abcdef0123456789abcdef"  # noqa: S105


AccountSourceSettings: TypeAlias = Annotated[
    HttpSourceSettings | SqlSourceSettings, Field(discriminator="kind")
]


class Configuration(BaseSettings):
    """Everything that can be set. Nested keys in variables: WXAUTH_GRPC__LISTEN."""

    model_config = SettingsConfigDict(
        env_prefix="WXAUTH_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
    )

    grpc: GrpcSettings = GrpcSettings()
    store: StoreSettings = StoreSettings()
    keyring: KeyringSettings = KeyringSettings()
    wechat: WeChatSettings = WeChatSettings()
    passwords: PasswordSettings = PasswordSettings()
    throttle: ThrottleSettings = ThrottleSettings()
    session_cache: SessionCacheSettings = SessionCacheSettings()
    audit: AuditSettings = AuditSettings()
    callers: CallersSettings = CallersSettings()
    log: LogSettings = LogSettings()
    # Made each time: what proves the gateway may be in the environment.
    gateway: GatewaySettings = Field(default_factory=GatewaySettings)
    apps: tuple[AppSettings, ...] = ()
    account_sources: tuple[AccountSourceSettings, ...] = ()

    @model_validator(mode="after")
    def _known_sources(self) -> Self:
        names = [source.name for source in self.account_sources]
        for name in sorted(set(names)):
            if names.count(name) > 1:
                raise ValueError(f"account_sources: {name} is there more than once")
        for app in self.apps:
            if app.account_source not in {LOCAL, *names}:
                raise ValueError(
                    f"apps: account_source of {app.app_id}: there is no account source of this "
                    f"name; there is {', '.join([LOCAL, *names])}"
                )
        return self

    @model_validator(mode="after")
    def _distinct_apps(self) -> Self:
        ids = [app.app_id for app in self.apps]
        for app_id in sorted(set(ids)):
            if ids.count(app_id) > 1:
                raise ValueError(f"apps: {app_id} is there more than once")
        return self

    def served_apps(self) -> tuple[App, ...]:
        """The mini-programs to serve.

        Raises: ConfigurationError when a secret's file cannot be read.
        """
        if self.is_development:
            demo = AppSettings(app_id=DEMO_APP_ID, app_secret=SecretStr(DEMO_APP_SECRET))
            return (demo.app(),)
        return tuple(app.app() for app in self.apps)

    @property
    def is_development(self) -> bool:
        """Whether no mini-program is configured, so that the demo one is served."""
        return not self.apps

    @property
    def callers_file(self) -> Path:
        return self.callers.file or self.store.directory / CALLERS_NAME

    @property
    def keyring_file(self) -> Path:
        return self.keyring.file or self.store.directory / KEYRING_NAME

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # Flags before variables before the file.
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls))


def load_configuration(file: Path | None = None, **flags: object) -> Configuration:
    """Flags, then WXAUTH_… variables, then the file; the development setting without any.

    `file` must be a file; without it WXAUTH_CONFIG's must, else wxauth.toml is read
    if it is there. `flags` are tables by name, such as grpc={"listen": …}.

    Raises: ConfigurationError.
    """
    named = file or (Path(value) if (value := os.environ.get("WXAUTH_CONFIG")) else None)
    path = named or DEFAULT_FILE

    _refuse_unknown_variables()
    try:
        # The TOML source passes over what is no file, such as the directory that Docker makes
        # for a mount that is missing.
        if named is not None or os.path.lexists(path):
            read_guarded_file(path)
        configuration = _from_file(path)(**flags)  # type: ignore[arg-type]
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not UTF-8") from None
    except FileUnusable as problem:
        raise ConfigurationError(str(problem)) from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except (SettingsError, ValidationError) as error:
        raise ConfigurationError(_describe(error)) from None
    except ValueError as problem:  # of Credentials.from_environment: ours, names no value
        raise ConfigurationError(str(problem)) from None
    if configuration.is_development and configuration.wechat.base_url == WECHAT_URL:
        base_url = {"base_url": f"http://{SANDBOX_LISTEN}"}
        sandbox = configuration.wechat.model_copy(update=base_url)
        return configuration.model_copy(update={"wechat": sandbox})
    return configuration


@functools.lru_cache(maxsize=8)
def _from_file(path: Path) -> type[Configuration]:
    class FromFile(Configuration):
        model_config = SettingsConfigDict(toml_file=path)

    return FromFile


def _refuse_unknown_variables() -> None:
    known = {name.upper() for name in (*Configuration.model_fields, *credential_names(), "config")}
    for variable in sorted(os.environ):
        table = variable.removeprefix("WXAUTH_").split("__")[0]
        if variable.startswith("WXAUTH_") and table not in known:
            raise ConfigurationError(f"{variable}: there is no such setting")


def _describe(error: ValidationError | SettingsError) -> str:
    """One line for each key that is wrong. Never the value: it may be a secret."""
    if isinstance(error, SettingsError):  # a variable that is not the JSON it should be
        field = re.search(r'field "(\w+)"', str(error))  # the rest of it may hold the value
        variable = f"WXAUTH_{field[1].upper()}" if field else "a WXAUTH_… variable"
        return f"{variable} cannot be parsed: tables and lists are written as JSON"
    lines = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        key = ".".join(str(part) for part in problem["loc"])
        unknown = problem["type"] in {"extra_forbidden", "unexpected_keyword_argument"}
        message = "there is no such key" if unknown else problem["msg"]
        message = message.removeprefix("Value error, ")
        lines.append(f"{key}: {message}" if key else message)
    return "\n".join(lines)
