"""Where seals are published outside of the database, out of its owner's reach."""
