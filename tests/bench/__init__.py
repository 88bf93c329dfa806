"""The figures of the README, measured: `make bench`. Prints; asserts no timing."""
