"""Commands that measure accuracy and speed, each against a peer in the same run."""
