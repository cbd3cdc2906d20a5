"""The daemon: what runs when, on which thread, until a signal says otherwise."""
