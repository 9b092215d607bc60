"""The gRPC services: requests read, calls admitted, answers written; no logic of their own."""
