"""Runs a program that nobody trusts, under limits."""
