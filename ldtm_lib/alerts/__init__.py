"""How the people who run it hear of what they should know."""
