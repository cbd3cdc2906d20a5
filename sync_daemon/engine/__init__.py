"""The straight line from a wanted version to a published one, and what it stands on."""
