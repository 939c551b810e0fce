"""What a candidate must show to become active: rules, the evidence beside them, and both in plain words."""
