"""Placement, progress and charts of trainings."""
