"""What a network would have forecast on sessions it never saw, and whether that is good enough."""
