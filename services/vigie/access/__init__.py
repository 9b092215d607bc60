"""The access context: who may do what."""
