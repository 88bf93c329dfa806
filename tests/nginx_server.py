"""An nginx of a test run's own, from Debian's package, with deploy/nginx/ as its configuration."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.edge_server import Behind, deploy, free_port, running_edge

# In place of Debian's: nothing outside of the directory, and one process, of whoever runs it.
_MAIN = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include wxauth.conf;
}
"""


INSTALL = "install nginx: apt-get install nginx"
#: None where there is none.
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")


@contextlib.contextmanager
def running_nginx(directory: Path, behind: Behind) -> Iterator[int]:
    """Until the block ends; gives its port."""
    assert NGINX is not None, INSTALL
    port = free_port()
    for file in ("nginx/wxauth.conf", "nginx/wxauth-identity.conf"):
        deploy(file, directory, port, behind)
    main = directory / "nginx.conf"
    main.write_text(_MAIN)
    with running_edge((NGINX, "-p", directory, "-c", main, "-e", "stderr"), directory, port):
        yield port
