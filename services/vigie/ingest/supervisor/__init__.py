"""Which cameras are received, by which engine, since when, and why not."""
