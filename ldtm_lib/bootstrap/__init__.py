"""Bootstrap: the histories, simulated sessions and trainings that an installation lacks."""
