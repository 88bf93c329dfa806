"""The company's own accounts: where they live and how their passwords are checked."""
