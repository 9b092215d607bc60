"""What this process takes of its machine, as metrics."""
