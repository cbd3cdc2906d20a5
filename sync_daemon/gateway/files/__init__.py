"""The bytes of files: from the store, or by a link to it."""
