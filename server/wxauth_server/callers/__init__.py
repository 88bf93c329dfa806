"""The services that may call: who they are, what proves it, and what they may do."""
