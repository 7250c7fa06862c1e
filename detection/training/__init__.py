"""Offline: from labelled faces to a classifier that the engine ships. Knows the engine, not Django."""
