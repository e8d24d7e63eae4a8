"""The math verifier: is the final answer of a response mathematically the gold answer?"""

from verifiers.math.verifier import MathVerifier

__all__ = ["MathVerifier"]
