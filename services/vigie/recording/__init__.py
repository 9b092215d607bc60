"""Recording: the index, timelines, playback, clips, retention, holds, the checker.

`module.RecordingModule` is what the wiring starts; everything else is private to the context.
"""
