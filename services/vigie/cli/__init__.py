"""The command line: every method of the product, for people and for scripts."""
