"""Test-time compute: worlds with checkable steps, proposers, verifiers, search, revision, policies.

Everything is measured on models trained by `lm`; the search code is the same for open language
models (`open_models`).
"""
