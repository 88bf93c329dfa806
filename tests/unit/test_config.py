"""The configuration: where it comes from, what is refused, and that no text holds a secret."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.configured import (
    APP,
    OTHER,
    SECRET,
    app,
    load,
    nothing_set,  # noqa: F401 - a fixture for every test
    refused,
)
from wxauth_client.target import split_address
from wxauth_server.apps import Apps
from wxauth_server.config import (
    DEMO_APP_ID,
    DEMO_APP_SECRET,
    SANDBOX_LISTEN,
    load_configuration,
)
from wxauth_server.settings import (
    WECHAT_URL,
    AppSettings,
    ConfigurationError,
    WeChatSettings,
)

# --- Where it comes from -------------------------------------------------------------


def test_without_anything_it_is_the_development_setting() -> None:
    configuration = load_configuration()
    assert configuration.is_development
    [demo] = configuration.served_apps()
    assert (demo.app_id, demo.secret) == (DEMO_APP_ID, DEMO_APP_SECRET)
    assert configuration.wechat.base_url == f"http://{SANDBOX_LISTEN}"
    assert configuration.grpc.listen == "127.0.0.1:50051"
    assert configuration.keyring_file == Path(".wxauth/keyring.json")
    assert configuration.passwords.bcrypt_cost == 12


def test_the_limits_of_an_app_by_default() -> None:
    """design.md section 5: idle 7 days, absolute 30 days, 10 live sessions."""
    [served] = load(app()).served_apps()
    assert served.limits.idle_ms == 7 * 86_400_000
    assert served.limits.absolute_ms == 30 * 86_400_000
    assert served.limits.most_live == 10
    assert served.limits.touch_after_ms == 300_000
    assert not served.several_users_per_account


def test_what_an_app_allows_by_default() -> None:
    """Nothing that logs somebody in without a password of the company (design.md section 4)."""
    [served] = load(app()).served_apps()
    assert served.open_platform == ""
    assert not served.registers
    assert not served.binds_by_phone


def test_what_an_app_may_allow() -> None:
    """Each app for itself; an app without a platform has no siblings, not even the others."""
    third = "wx3333333333333333"
    platform = f'app_secret = "{SECRET}"\nopen_platform = "company"\n'
    configuration = load(
        app(APP, platform + 'unbound = "register"')
        + app(OTHER, platform + 'bind_by_phone = true\nunbound = "require_credentials"')
        + app(third)
    )
    one, other, last = configuration.served_apps()
    assert (one.registers, other.registers, last.registers) == (True, False, False)
    assert (one.binds_by_phone, other.binds_by_phone) == (False, True)
    apps = Apps((one, other, last))
    assert [apps.siblings(served) for served in apps] == [{OTHER}, {APP}, frozenset()]


def test_how_old_user_data_may_be() -> None:
    assert load(None).wechat.user_data_max_age_s == 300
    assert load("[wechat]\nuser_data_max_age_s = 86400\n").wechat.user_data_max_age_s == 86_400


def test_with_an_app_it_is_the_real_wechat() -> None:
    configuration = load(app())
    assert not configuration.is_development
    assert configuration.wechat.base_url == WECHAT_URL
    [served] = configuration.served_apps()
    assert (served.app_id, served.secret) == (APP, SECRET)


def test_a_sandbox_elsewhere_is_kept() -> None:
    configuration = load('[wechat]\nbase_url = "http://localhost:9999"')
    assert configuration.wechat.base_url == "http://localhost:9999"


def test_flags_before_variables_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Key by key: what one leaves open another one may say."""
    text = '[grpc]\nlisten = "127.0.0.1:1"\nreflection = false\nlame_duck_s = 1\n'
    monkeypatch.setenv("WXAUTH_GRPC__LISTEN", "127.0.0.1:2")
    monkeypatch.setenv("WXAUTH_GRPC__LAME_DUCK_S", "2")
    grpc = load(text, grpc={"listen": "127.0.0.1:3"}).grpc
    assert (grpc.listen, grpc.lame_duck_s, grpc.reflection) == ("127.0.0.1:3", 2.0, False)
    assert load(text).grpc.listen == "127.0.0.1:2"
    monkeypatch.delenv("WXAUTH_GRPC__LISTEN")
    assert load(text).grpc.listen == "127.0.0.1:1"


def test_the_file_by_flag_by_variable_and_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def name(file: str, level: str) -> Path:
        path = tmp_path / file
        path.write_text(f'[log]\nlevel = "{level}"\n')
        return path

    name("wxauth.toml", "warning")
    assert load_configuration().log.level == "warning"
    monkeypatch.setenv("WXAUTH_CONFIG", str(name("other.toml", "error")))
    assert load_configuration().log.level == "error"
    assert load_configuration(name("given.toml", "info")).log.level == "info"


def test_apps_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WXAUTH_APPS", f'[{{"app_id": "{APP}", "app_secret": "{SECRET}"}}]')
    [served] = load_configuration().served_apps()
    assert (served.app_id, served.secret) == (APP, SECRET)


# --- What is refused -----------------------------------------------------------------


@pytest.mark.parametrize("named", [None, Path("wxauth.toml")])
def test_a_file_that_is_none_is_not_passed_over(named: Path | None) -> None:
    """Docker makes a directory for a mount that is missing."""
    path = Path("wxauth.toml")

    def why() -> str:
        with pytest.raises(ConfigurationError) as refusal:
            load_configuration(named)
        return str(refusal.value)

    path.mkdir()
    assert why() == "wxauth.toml cannot be read: Is a directory"
    path.rmdir()
    os.mkfifo(path)  # nobody ever writes into it: it must not be waited for
    assert why() == "wxauth.toml is no regular file"
    path.unlink()
    path.symlink_to("nowhere.toml")
    assert why() == "wxauth.toml cannot be read: No such file or directory"


def test_a_file_that_is_named_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"missing\.toml cannot be read: No such file"):
        load_configuration(Path("missing.toml"))
    monkeypatch.setenv("WXAUTH_CONFIG", "missing.toml")
    assert "missing.toml cannot be read" in refused()


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_configuration(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        f'app_secret = "{SECRET}',
        f"[[apps]]\napp_secret = {SECRET}\n",
        f'[apps]\n[apps]\napp_secret = "{SECRET}"\n',
        f'[[apps]]\napp_secret = "{SECRET}"\napp_secret = "{SECRET}"\n',
    ],
)
def test_not_toml(text: str) -> None:
    assert "given.toml is not TOML" in refused(text)


def test_not_utf_8() -> None:
    Path("given.toml").write_bytes(b'[log]\nlevel = "\xff"\n')
    with pytest.raises(ConfigurationError, match=r"given\.toml is not UTF-8"):
        load_configuration(Path("given.toml"))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (f'secret_of_app = "{SECRET}"\n', "secret_of_app"),
        (f'[grcp]\nlisten = "{SECRET}"\n', "grcp"),
        ('[grpc]\nlisten_on = "x"\n', "grpc.listen_on"),
        (app() + f'app_sercet = "{SECRET}"\n', "apps.0.app_sercet"),
        (app() + app(OTHER) + "sessions = 3\n", "apps.1.sessions"),
    ],
)
def test_an_unknown_key_is_named(text: str, key: str) -> None:
    assert refused(text) == f"{key}: there is no such key"


@pytest.mark.parametrize("variable", ["WXAUTH_GRCP__LISTEN", "WXAUTH_GRPCLISTEN", "WXAUTH_X"])
def test_an_unknown_variable_is_named(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, SECRET)
    assert refused() == f"{variable}: there is no such setting"


def test_an_unknown_key_of_a_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WXAUTH_GRPC__LISTEN_ON", SECRET)
    assert "grpc.listen_on: there is no such key" in refused().lower()


def test_every_wrong_key_is_named_at_once() -> None:
    text = '[grpc]\nlisten = "nowhere"\nlame_duck_s = -1\n[log]\nlevel = "debug"\n'
    assert [line.split(":")[0] for line in refused(text).splitlines()] == [
        "grpc.listen",
        "grpc.lame_duck_s",
        "log.level",
    ]


def test_a_variable_that_is_not_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WXAUTH_APPS", f'[{{"app_secret": "{SECRET}"')
    assert "written as JSON" in refused()


@pytest.mark.parametrize(
    "address",
    [
        "",
        "50051",
        ":50051",
        "host",
        "host:",
        "host:port",
        "host:-1",
        "host:65536",
        "host:5 ",
        "h:²",
        "h:٣",
        "::1:50051",
        "[::1:50051",
    ],
)
def test_not_an_address(address: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        split_address(address)
    assert "not an address" in refused(f'[grpc]\nlisten = "{address}"\n')


def test_the_parts_of_an_address() -> None:
    assert split_address("127.0.0.1:0") == ("127.0.0.1", 0)
    assert split_address("[::1]:65535") == ("[::1]", 65_535)


@pytest.mark.parametrize(
    "base_url",
    [
        WECHAT_URL,
        "https://localhost:8443",
        "http://127.0.0.1",
        "http://127.0.0.1:8090",
        "http://localhost:8090",
    ],
)
def test_where_wechat_may_be(base_url: str) -> None:
    assert WeChatSettings(base_url=base_url).base_url == base_url


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "api.weixin.qq.com",
        "http://api.weixin.qq.com",
        "http://10.0.0.1:8090",
        "http://127.0.0.1.example.com",
        "http://127.0.0.1@example.com",
        "http://localhost:8090/",
        "https://api.weixin.qq.com/",
        "https://api.weixin.qq.com?x=1",
        "https://api.weixin.qq.com#x",
        "https://user@api.weixin.qq.com",
        "https://api.weixin.qq.com\n",
        "https://",
        "ftp://api.weixin.qq.com",
        "file:///etc/passwd",
    ],
)
def test_where_the_secret_is_not_sent(base_url: str) -> None:
    with pytest.raises(ValueError, match="no path"):
        WeChatSettings(base_url=base_url)


@pytest.mark.parametrize("age_s", [9, 86_401, 10.5])
def test_the_age_of_user_data_has_limits(age_s: float) -> None:
    text = f"[wechat]\nuser_data_max_age_s = {age_s}\n"
    assert refused(text).startswith("wechat.user_data_max_age_s: ")


@pytest.mark.parametrize("cost", [3, 15])
def test_bcrypt_cost_has_limits(cost: int) -> None:
    assert refused(f"[passwords]\nbcrypt_cost = {cost}\n").startswith("passwords.bcrypt_cost: ")


@pytest.mark.parametrize(
    "app_id", ["", "wx1", "WX1111111111111111", "wx111111111111111g", f"{APP}1", f"{APP}\\n"]
)
def test_not_an_app_id(app_id: str) -> None:
    assert refused(app(app_id)).startswith("apps.0.app_id: ")


def test_an_app_is_there_once() -> None:
    assert refused(app() + app(OTHER) + app()).endswith(f"apps: {APP} is there more than once")


@pytest.mark.parametrize("more", ["", f'app_secret = "{SECRET}"\napp_secret_file = "secret"'])
def test_exactly_one_secret(more: str) -> None:
    assert "exactly one of app_secret and app_secret_file" in refused(app(APP, more))


def test_the_idle_limit_is_within_the_absolute_one() -> None:
    more = f'app_secret = "{SECRET}"\nsession_absolute_s = 3600\nsession_idle_s = '
    assert "session_idle_s is larger" in refused(app(APP, more + "3601"))
    assert load(app(APP, more + "3600")).apps[0].session_idle_s == 3600


@pytest.mark.parametrize(
    "more",
    [
        "session_idle_s = 59",
        "session_absolute_s = 31536001",
        "session_limit = 0",
        "session_limit = 1001",
        f'open_platform = "{"x" * 65}"',
        "open_platform = 1",
        'unbound = "Register"',
        "unbound = true",
        'bind_by_phone = "13800138000"',
    ],
)
def test_limits_of_the_limits(more: str) -> None:
    key = more.split()[0]
    assert refused(app() + more).startswith(f"apps.0.{key}: ")


# --- Secrets -------------------------------------------------------------------------


def test_a_secret_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"  {SECRET}\n")
    [served] = load(app(APP, f'app_secret_file = "{file}"')).served_apps()
    assert served.secret == SECRET


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff" + SECRET.encode()])
def test_a_secret_file_that_is_of_no_use(tmp_path: Path, content: bytes | None) -> None:
    """It names the app and never what is in the file."""
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    configuration = load(app(APP, f'app_secret_file = "{file}"'))
    with pytest.raises(ConfigurationError, match=APP) as refusal:
        configuration.served_apps()
    assert SECRET not in repr(refusal.value)
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None


def test_an_empty_secret() -> None:
    with pytest.raises(ConfigurationError, match=f"the secret of {APP} is not one line"):
        load(app(APP, 'app_secret = ""')).served_apps()


def test_no_repr_holds_a_secret() -> None:
    configuration = load(app())
    shown = [configuration, configuration.apps, configuration.served_apps(), *configuration.apps]
    assert not any(SECRET in f"{what!r} {what}" for what in shown)
    assert SECRET not in configuration.model_dump_json()


def test_a_configuration_does_not_change() -> None:
    configuration = load(app())
    with pytest.raises(ValueError, match="frozen"):
        configuration.apps[0].session_limit = 5  # type: ignore[misc]  # that is the point
    assert AppSettings.model_config["extra"] == "forbid"
