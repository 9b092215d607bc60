"""The audit context: every access on record, searchable."""
