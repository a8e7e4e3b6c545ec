"""peewee models, migrations and queries: the only place that knows SQL."""
