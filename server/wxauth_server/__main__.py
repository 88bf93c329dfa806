"""`python -m wxauth_server` is `wxauth`."""

from wxauth_server.cli import main

main()
