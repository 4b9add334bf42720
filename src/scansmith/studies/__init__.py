"""Experiments that repeat the papers' claims on a user's own data."""
