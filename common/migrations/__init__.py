"""The steps from one version of the database to the next; deploy/migrate.py runs them.

Each file of `versions` is one step, both ways, in plain SQL, and its `TABLES` are those that its way down
drops. A step that was released is never changed. common/schema_version.py names the last one.
"""
