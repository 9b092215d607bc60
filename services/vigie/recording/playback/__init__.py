"""Playback: stored footage on its way out; read in ranges, never transcoded (stills excepted)."""
