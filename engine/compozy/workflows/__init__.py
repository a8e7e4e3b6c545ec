"""From a workflow file to a durable execution on Temporal."""
