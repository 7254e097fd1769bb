"""Benchmarks of the package beside other ways to do the same work: ``make bench``."""
