"""Places outside of the database, and out of its owner's reach, in which seals are published."""
