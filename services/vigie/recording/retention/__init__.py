"""Retention: the rule (pure), what is due (planner), its destruction (sweeper)."""
