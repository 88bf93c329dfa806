"""What has ended sessions lately, for those that answer from memory (docs/decisions/0014)."""
