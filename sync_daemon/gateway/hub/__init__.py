"""The Hub's read API, answered from memory."""
