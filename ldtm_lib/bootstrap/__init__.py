"""From nothing to a record: which histories, simulated sessions and trainings an installation lacks."""
