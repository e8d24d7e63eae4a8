"""Speed and accuracy of the trainer, each a command."""
