"""What keeps an installation from growing without bound, and shows how it stands."""
