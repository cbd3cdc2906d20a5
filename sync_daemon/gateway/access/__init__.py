"""Who comes in: networks, tokens, limits, and what is written down of each request."""
