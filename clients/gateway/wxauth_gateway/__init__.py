"""The thin HTTP gateway of wxauth: JSON for mini-programs in front, gRPC behind.

It knows `wxauth_client` only and holds no business rule. Start at `app.py`.
"""
