"""Generated from the contracts in protos/."""
