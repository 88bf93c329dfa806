"""What can be wrong with an installation, looked at without changing anything.

One module a subject. A check is a function that yields findings; examination.py
runs them all. Nothing here prints, writes a file or takes a lock of the server's.
"""
