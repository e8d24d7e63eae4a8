"""Accuracy and speed of the math verifier and of other graders on labelled pairs."""
