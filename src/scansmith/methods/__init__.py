"""The five published systems, by name."""
