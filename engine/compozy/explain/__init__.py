"""What is known about a configuration: values, findings, differences and diagnostics."""
