"""The index: tables, how events change them, how they are read."""
