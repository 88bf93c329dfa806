"""Accounts taken over from files: `importing.py` is what is done with each row."""
