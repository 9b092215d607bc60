"""The demonstration: the main job from cameras to a verified evidence package, checked."""
