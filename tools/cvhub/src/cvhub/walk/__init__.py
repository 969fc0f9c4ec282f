"""The walk through the main job that `cvhub up` makes: one module for each part of the way."""
