"""Conversation memories: messages by key on Redis, within limits, each operation one atomic script."""
