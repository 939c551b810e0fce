"""Backup and restore: one archive of the database, the checkpoint files, the published seals and the configuration."""
