"""Timeline algebra: pure functions on half-open intervals of microseconds."""
