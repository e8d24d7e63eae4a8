"""Verifiers: turn a model's response into a reward, with the reason."""

from verifiers.types import InputError, Message, Problem, Status, Verdict, Verifier

__all__ = ["InputError", "Message", "Problem", "Status", "Verdict", "Verifier"]
