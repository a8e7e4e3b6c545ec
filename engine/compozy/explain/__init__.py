"""Explanations of a configuration: values, findings, differences and diagnostics."""
