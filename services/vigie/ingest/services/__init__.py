"""The gRPC services of ingest."""
