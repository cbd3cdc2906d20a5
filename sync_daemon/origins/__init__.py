"""Where models come from: one adapter of `ports.Origin` a module, unaware of one another."""
