"""DAPO: learns on a curated set with dynamic sampling."""
