"""The acts of the demonstration."""
