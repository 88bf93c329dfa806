"""The login, step by step, and what a session allows. No transport here.

Steps 1 and 2 happen in the mini-program and the gateway; step 3 is
`exchange_code.py`, step 4 `verify_credentials.py` and `bind_account.py`, step 5
`start_session.py`; `login.py` puts 3 to 6 in order. Step 7 is
`validate_session.py`. `logout.py` and `unbind.py` end what a login began.
"""
