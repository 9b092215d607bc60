"""What every service stands on: ports, clocks, configuration, the gRPC host. Knows no domain."""
