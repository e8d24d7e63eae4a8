"""Speed and endurance of the sandbox, each a command."""
