"""The index made anew from the bucket: first the timeline from names, then rows from attributes."""
