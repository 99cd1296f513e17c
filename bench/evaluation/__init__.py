"""Evaluate a network on a split: measures, snapshots of attention."""
