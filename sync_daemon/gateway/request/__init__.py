"""One request: who asks, for what, and how it is told that there is nothing."""
