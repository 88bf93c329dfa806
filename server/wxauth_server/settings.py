"""The tables of the configuration: what each key means, and which values it may have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from wxauth_client.certificates import ServerTls
from wxauth_client.file_watch import FileUnusable
from wxauth_client.target import is_loopback, split_address
from wxauth_server.accounts.passwords import BCRYPT_COST, MAX_FOREIGN_COST, MIN_FOREIGN_COST
from wxauth_server.accounts.sources.source import LOCAL
from wxauth_server.accounts.throttle import ThrottleLimits
from wxauth_server.apps import App, SessionLimits
from wxauth_server.auth.login_limits import LoginLimits
from wxauth_server.secret_reading import read_secret

WECHAT_URL = "https://api.weixin.qq.com"

_DAY_S = 86_400
_SECRET_FORM = re.compile(r"[ -~]{1,128}")


class ConfigurationError(Exception):
    """The configuration cannot be used. The text names the keys, one a line, no secret."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class GrpcSettings(_Table):
    """The gRPC server."""

    #: host:port. Off loopback it needs tls, and callers.
    listen: str = "127.0.0.1:50051"
    #: Certificate and key; none: plaintext, on loopback only.
    tls: ServerTls | None = None
    #: Whether gateways and internal services have to prove who they are. Default:
    #: off loopback, where it cannot be turned off.
    require_callers: bool | None = None
    #: Reflection, so that grpcurl needs no .proto files. Default: on loopback only.
    reflection: bool | None = None
    #: How long the server says NOT_SERVING before it refuses calls; callers
    #: that watch its health go elsewhere meanwhile (reliability.md F11).
    lame_duck_s: Annotated[float, Field(ge=0, le=60)] = 2.0
    #: How long calls may go on after that.
    stop_grace_s: Annotated[float, Field(ge=0, le=60)] = 10.0

    @field_validator("listen")
    @classmethod
    def _address(cls, listen: str) -> str:
        split_address(listen)
        return listen

    @model_validator(mode="after")
    def _safe_off_loopback(self) -> Self:
        if not self.is_loopback:
            if self.tls is None:
                raise ValueError(
                    f"listen: {self.listen} is not loopback: that needs TLS, so give "
                    "grpc.tls.certificate_file and grpc.tls.key_file, and callers, so run "
                    "wxauth callers add (docs/tls.md)"
                )
            if self.require_callers is False:
                raise ValueError(
                    f"require_callers: off loopback, as with {self.listen}, it cannot be false"
                )
        return self

    @property
    def is_loopback(self) -> bool:
        return is_loopback(split_address(self.listen)[0])

    @property
    def callers_required(self) -> bool:
        return not self.is_loopback if self.require_callers is None else self.require_callers

    @property
    def serves_reflection(self) -> bool:
        return self.is_loopback if self.reflection is None else self.reflection


class CallersSettings(_Table):
    """The services that may call."""

    #: Default: callers.json in the store's directory. `wxauth callers` writes it.
    file: Path | None = None


class KeyringSettings(_Table):
    """The secrets that protect the database."""

    #: Default: keyring.json in the store's directory. Better on another disk.
    file: Path | None = None


class WeChatSettings(_Table):
    """How WeChat is reached."""

    base_url: str = WECHAT_URL
    #: How old user data may be that the mini-program got from WeChat.
    user_data_max_age_s: Annotated[int, Field(ge=10, le=_DAY_S)] = 300

    @field_validator("base_url")
    @classmethod
    def _http(cls, base_url: str) -> str:
        if re.fullmatch(r"https://[^/?#@\s]+|http://(127\.0\.0\.1|localhost)(:\d+)?", base_url):
            return base_url
        raise ValueError("https://host, or http:// on 127.0.0.1 for the sandbox; no path")


class PasswordSettings(_Table):
    """How passwords of our own accounts are hashed."""

    #: 2**cost rounds. Below 10 for tests only.
    bcrypt_cost: Annotated[int, Field(ge=MIN_FOREIGN_COST, le=MAX_FOREIGN_COST)] = BCRYPT_COST
    #: The company's and the product's names and the like, which are no passwords.
    context_words: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] = ()


class ThrottleSettings(_Table):
    """Protection against guessing and floods (docs/security.md)."""

    #: Wrong passwords of one WeChat user for one account before the user has to wait
    #: 1 s, and twice as long each time.
    failures_before_wait: Annotated[int, Field(ge=1, le=100)] = 5
    #: The same for all accounts together.
    user_failures_before_wait: Annotated[int, Field(ge=1, le=1000)] = 10
    #: The longest of these waits.
    longest_wait_s: Annotated[int, Field(ge=1, le=3600)] = 900
    #: Wrong passwords in a row for one account, whoever tries, before its password is
    #: put out of use. NIST SP 800-63B-4 section 3.2.2 allows no more than 100.
    failures_before_lock: Annotated[int, Field(ge=10, le=100)] = 100
    #: Logins of one address.
    logins_per_minute_of_address: Annotated[int, Field(ge=1, le=1_000_000)] = 60
    #: Logins in all.
    logins_per_s: Annotated[int, Field(ge=1, le=1_000_000)] = 500

    def of_passwords(self) -> ThrottleLimits:
        return ThrottleLimits(
            failures_before_wait=self.failures_before_wait,
            user_failures_before_wait=self.user_failures_before_wait,
            failures_before_lock=self.failures_before_lock,
            longest_wait_ms=self.longest_wait_s * 1000,
        )

    def of_logins(self) -> LoginLimits:
        return LoginLimits(
            of_address_per_minute=self.logins_per_minute_of_address,
            of_all_per_s=self.logins_per_s,
        )


class AuditSettings(_Table):
    """The log of decisions, in the database."""

    #: How long events are kept; 0: for ever. China's Cybersecurity Law, article 21,
    #: asks for six months at least.
    keep_days: Annotated[int, Field(ge=0, le=3660)] = 184

    @property
    def kept_ms(self) -> int | None:
        """In milliseconds; None for ever."""
        return self.keep_days * _DAY_S * 1000 or None


class LogSettings(_Table):
    """The log on standard error."""

    format: Literal["json", "text"] = "json"
    level: Literal["info", "warning", "error"] = "info"


class AppSettings(_Table):
    """One mini-program."""

    app_id: Annotated[str, Field(pattern=r"^wx[0-9a-f]{16}$")]
    app_secret: SecretStr | None = None
    #: A file that holds the AppSecret and nothing else.
    app_secret_file: Path | None = None
    #: "local" or the name of one of account_sources.
    account_source: str = LOCAL
    session_idle_s: Annotated[int, Field(ge=60, le=365 * _DAY_S)] = 7 * _DAY_S
    session_absolute_s: Annotated[int, Field(ge=60, le=365 * _DAY_S)] = 30 * _DAY_S
    #: Live sessions of one WeChat user.
    session_limit: Annotated[int, Field(ge=1, le=1000)] = 10
    #: Whether one account may be bound to several WeChat users of this app.
    several_users_per_account: bool = False
    #: A name for the WeChat Open Platform account the app belongs to. Who is bound
    #: in one app of the same name and account source is logged in by the others.
    open_platform: Annotated[str, Field(max_length=64)] = ""
    #: What a WeChat user without an account gets: BINDING_REQUIRED, or a new account.
    unbound: Literal["require_credentials", "register"] = "require_credentials"
    #: Whether a phone number that WeChat confirms binds to the one account that
    #: has it as its verified number. Numbers are given to new owners in time.
    bind_by_phone: bool = False

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if (self.app_secret is None) == (self.app_secret_file is None):
            raise ValueError("give exactly one of app_secret and app_secret_file")
        if self.session_idle_s > self.session_absolute_s:
            raise ValueError("session_idle_s is larger than session_absolute_s")
        if self.account_source != LOCAL and (self.unbound == "register" or self.bind_by_phone):
            raise ValueError(
                'unbound = "register" and bind_by_phone need account_source = "local": '
                "accounts and phone numbers of another system are not ours"
            )
        return self

    def app(self) -> App:
        """The app as the domain knows it.

        Raises: ConfigurationError when the secret's file cannot be read.
        """
        return App(
            app_id=self.app_id,
            secret=self._secret(),
            account_source=self.account_source,
            limits=SessionLimits(
                idle_ms=self.session_idle_s * 1000,
                absolute_ms=self.session_absolute_s * 1000,
                most_live=self.session_limit,
            ),
            several_users_per_account=self.several_users_per_account,
            open_platform=self.open_platform,
            registers=self.unbound == "register",
            binds_by_phone=self.bind_by_phone,
        )

    def _secret(self) -> str:
        if self.app_secret_file is None:
            secret = self.app_secret.get_secret_value() if self.app_secret else ""
        else:
            try:
                secret = read_secret(self.app_secret_file)
            except FileUnusable as problem:
                raise ConfigurationError(
                    f"apps: app_secret_file of {self.app_id}: {problem}"
                ) from None
        if not _SECRET_FORM.fullmatch(secret):
            raise ConfigurationError(
                f"apps: the secret of {self.app_id} is not one line of 1 to 128 ASCII characters"
            )
        return secret
