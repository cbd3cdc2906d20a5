"""What the store publishes, held in memory: found by what a request names, and kept fresh."""
