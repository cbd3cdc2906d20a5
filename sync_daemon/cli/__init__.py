"""The command line: one short module a verb, one table of them in `main`."""
