"""The status page: what is here, how fresh it is, and how to fetch it, for people."""
