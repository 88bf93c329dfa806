"""What `wxauth serve` and `wxauth gateway` lack before other machines may reach them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.canary import CANARY
from tests.certificates import Authority
from tests.command_data import ANY_PORT, make_data
from tests.wxauth_command import ready, refused, running, wxauth

ANYWHERE = "0.0.0.0:0"
TOKEN = CANARY.keep("wxc_" + "made-up-for-the-refusals-of-serve".ljust(43, "x"))
APP = "[[apps]]\napp_id = 'wx0123456789abcdef'\napp_secret_file = 'secret'\n"
TLS = "tls = { certificate_file = 'server.pem', key_file = 'server.key' }\n"


@pytest.fixture(scope="module")
def lacks_nothing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("complete")
    make_data(made)
    Authority(made).issue("server", "127.0.0.1")
    (made / "secret").write_text(CANARY.keep("made up for the refusals"))
    (made / "secret").chmod(0o600)
    (made / "wxauth.toml").write_text(
        f"[grpc]\nlisten = '{ANYWHERE}'\nlame_duck_s = 0\n{TLS}"
        f"[gateway]\nlisten = '{ANYWHERE}'\nserver = '127.0.0.1:1'\n{TLS}"
        "[gateway.credentials]\nca_file = 'ca.pem'\ntoken_file = 'gateway.token'\n" + APP
    )
    added = wxauth(
        "callers", "add", "gateway", "--role", "gateway", "--output", "gateway.token", cwd=made
    )
    assert added.returncode == 0
    CANARY.keep((made / "gateway.token").read_text().strip())
    return made


@pytest.fixture
def complete(lacks_nothing: Path, tmp_path: Path) -> Path:
    """A directory that lacks nothing: what a test takes away is what is refused."""
    shutil.copytree(lacks_nothing, tmp_path, dirs_exist_ok=True)
    return tmp_path


def serve(
    directory: Path, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return wxauth("serve", cwd=directory, variables=variables)


def test_with_everything_they_start(complete: Path) -> None:
    for command in ("serve", "gateway"):
        with running(command, cwd=complete) as part:
            assert ready(part).startswith("0.0.0.0:")
            assert part.stop() == 0


def test_no_tls(complete: Path) -> None:
    configuration = (complete / "wxauth.toml").read_text()
    (complete / "wxauth.toml").write_text(configuration.replace(TLS, ""))
    done = serve(complete)
    assert (done.returncode, done.stdout) == (1, "")
    # The gateway's table is part of the same configuration.
    first, second = done.stderr.splitlines()
    assert "grpc.tls.certificate_file" in first
    assert "wxauth callers add" in first
    assert "gateway.tls.certificate_file" in second


def test_everything_else_is_told_at_once(complete: Path) -> None:
    (complete / ".wxauth" / "callers.json").unlink()
    (complete / "server.key").chmod(0o644)
    configuration = (complete / "wxauth.toml").read_text()
    (complete / "wxauth.toml").write_text(configuration.replace(APP, ""))
    before = sorted(path.name for path in (complete / ".wxauth").iterdir())
    done = serve(complete, {"GRPC_TRACE": "http"})
    assert (done.returncode, done.stdout) == (1, "")
    told = [line for line in done.stderr.splitlines() if line.startswith("wxauth: ")]
    parts = ("server.key", "callers.json does not exist", "[[apps]]", "GRPC_TRACE")
    assert len(told) == len(parts)
    assert all(part in line for part, line in zip(parts, told, strict=True))
    # And nothing was made.
    assert sorted(path.name for path in (complete / ".wxauth").iterdir()) == before


def test_callers_that_are_all_gone(complete: Path) -> None:
    assert wxauth("callers", "revoke", "gateway", cwd=complete).returncode == 0
    refused(serve(complete), "callers.json names no callers", "wxauth callers add")


def test_callers_that_others_could_write(complete: Path) -> None:
    (complete / ".wxauth" / "callers.json").chmod(0o666)
    refused(serve(complete), "callers.json", "can be written by others", "chmod 600")


@pytest.mark.parametrize("command", ["serve", "gateway"])
def test_a_key_of_another_certificate(complete: Path, command: str) -> None:
    other = Authority(complete, "other").issue("server", file="another")
    other.key.replace(complete / "server.key")
    refused(wxauth(command, cwd=complete), "server.key is not the key of the certificate")


@pytest.mark.parametrize("command", ["serve", "gateway"])
def test_a_key_that_others_can_read(complete: Path, command: str) -> None:
    (complete / "server.key").chmod(0o604)
    refused(wxauth(command, cwd=complete), "server.key", "open to others (mode 0604)", "chmod 600")


def test_variables_that_log_secrets(complete: Path) -> None:
    """reliability.md row 45. On loopback they are for whoever looks for a fault."""
    names = ("GRPC_TRACE", "PYTHONASYNCIODEBUG", "PYTHONDEVMODE")
    variables = dict.fromkeys(names, "1")
    for command in ("serve", "gateway"):
        done = wxauth(command, cwd=complete, variables=variables)
        assert (done.returncode, done.stdout) == (1, "")
        told = [line for line in done.stderr.splitlines() if line.startswith("wxauth: ")]
        assert [line.split()[1] for line in told] == list(names)
        assert all("is set" in line and "unset it" in line for line in told)
    with running("serve", "--grpc", ANY_PORT, cwd=complete, variables=variables) as part:
        ready(part)


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("gateway.token", None, "gateway.token cannot be read"),
        ("gateway.token", "nonsense", "gateway.token holds no token"),
        ("ca.pem", None, "ca.pem cannot be read"),
        ("ca.pem", "nonsense", "ca.pem cannot be read as certificates"),
    ],
)
def test_what_the_gateway_cannot_prove_itself_with(
    complete: Path, file: str, content: str | None, problem: str
) -> None:
    (complete / file).unlink()
    if content is not None:
        (complete / file).write_text(content)
        (complete / file).chmod(0o600)
    refused(wxauth("gateway", cwd=complete), problem)


def test_a_token_in_a_configuration_that_others_can_read(tmp_path: Path) -> None:
    """A warning, as for an AppSecret that stands there."""
    (tmp_path / "wxauth.toml").write_text(f"[gateway.credentials]\ntoken = '{TOKEN}'\n")
    (tmp_path / "wxauth.toml").chmod(0o644)
    with running("gateway", "--http", ANY_PORT, cwd=tmp_path) as gateway:
        assert '"file": "wxauth.toml", "mode": "0644"' in gateway.wait_for("with a secret")
        ready(gateway)


def test_a_token_is_not_sent_in_the_open(tmp_path: Path) -> None:
    variables = {"WXAUTH_TOKEN": TOKEN}
    elsewhere = ("gateway", "--http", ANY_PORT, "--server", "192.0.2.1:50051")
    refused(wxauth(*elsewhere, cwd=tmp_path, variables=variables), "192.0.2.1", "without TLS")
    for command in ("gateway", "serve"):
        wrong = wxauth(command, cwd=tmp_path, variables={"WXAUTH_TOKEN": f"{TOKEN}x"})
        refused(wrong, "token: not a token of wxauth")


def test_dev_is_the_same_whatever_is_configured(complete: Path) -> None:
    """No TLS, no callers, no credentials; a phone in the network may reach it, with a warning."""
    (complete / "server.key").unlink()
    (complete / ".wxauth" / "callers.json").write_text("nonsense")
    ports = [word for part in ("sandbox", "grpc") for word in (f"--{part}", ANY_PORT)]
    variables = {"WXAUTH_TOKEN_FILE": "gone"}
    dev = ("dev", *ports, "--data", "demo", "--http", ANYWHERE)
    with running(*dev, cwd=complete, variables=variables) as part:
        part.wait_for("Ctrl-C stops everything.")
        assert "passwords travel in the open" in part.said()
        assert part.stop() == 0
    refused(wxauth("dev", "--grpc", ANYWHERE, cwd=complete), "gRPC server", "wxauth serve")
