"""Measures of labelled synthetic data; they read files, not generators."""
