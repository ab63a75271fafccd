"""Resampling with imperfect verifiers: a world of small programs, test suites, exact estimators."""
