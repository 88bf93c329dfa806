"""A company's own account service: real HTTP, users in a dictionary, and its bad days."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.canary import CANARY

NAME = "crm"
KEY = CANARY.keep("the-key-of-the-company-0123456789abcdef")


@dataclass
class Company:
    """What it knows, what it was asked, and what is wrong with it today."""

    url: str
    #: Account by username: id, password, display_name, disabled.
    users: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: Path and body of every question.
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    #: Fields that it leaves out of its answers.
    silent_about: set[str] = field(default_factory=set)
    #: Answers 500 while it is set.
    broken: bool = False
    #: No answer comes until it is set.
    answers: threading.Event = field(default_factory=threading.Event)

    @property
    def source(self) -> dict[str, Any]:
        """As the configuration has it."""
        return {"kind": "http", "name": NAME, "url": self.url, "key": KEY}

    def employ(self, username: str, password: str, account_id: str, **fields: Any) -> None:
        self.users[username] = {"id": account_id, "password": CANARY.keep(password), **fields}

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((path, body))
        if path == "/verify":
            user = self.users.get(body["username"])
            if user is None or user["password"] != body["password"]:
                return {"account": None}
            return {"account": self._told(body["username"], user)}
        for username, user in self.users.items():
            if user["id"] == body["id"]:
                return {"account": self._told(username, user)}
        return {"account": None}

    def _told(self, username: str, user: dict[str, Any]) -> dict[str, Any]:
        said = {"username": username, "disabled": False} | user
        return {key: said[key] for key in said.keys() - {"password"} - self.silent_about}


@contextmanager
def running_company() -> Iterator[Company]:
    """It answers until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = company.answer(self.path, body)
            company.answers.wait(20)
            text = b"<html>down</html>" if company.broken else json.dumps(answer).encode()
            try:
                self.send_response(500 if company.broken else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)
            except OSError:
                pass  # nobody waited

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    company = Company(f"http://127.0.0.1:{server.server_address[1]}")
    company.answers.set()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield company
    finally:
        company.answers.set()
        server.shutdown()
        thread.join()
        server.server_close()
