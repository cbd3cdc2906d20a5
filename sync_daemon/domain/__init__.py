"""Pure values and decisions: nothing in here reads a clock, a file or a socket."""
