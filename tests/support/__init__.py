"""Doubles and samples that the tests share."""
