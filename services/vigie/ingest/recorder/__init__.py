"""The segment writer: groups of frames become runs of segments in the spool."""
