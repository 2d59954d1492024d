"""Shapes that cross a border: queue messages and HTTP bodies."""
