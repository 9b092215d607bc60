"""Ingest: sessions to cameras, runs, segments in the spool, upload, live fan-out."""
