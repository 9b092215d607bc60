"""The gRPC host: interceptors for identity, access record, validation, errors, metrics."""
