"""What wxauth remembers: accounts, bindings, sessions and the audit log.

`interface.py` is the seam; an engine is what passes tests/contract. The SQL is
by subject in `accounts.py`, `bindings.py`, `sessions.py` and `audit.py`, one
set of statements for every engine.
"""
