"""What the steps share: running statements, and telling what tables and columns mean."""

from alembic import op


def execute(*statements: str) -> None:
    """Run statements, one after the other."""
    connection = op.get_bind()
    for statement in statements:
        connection.exec_driver_sql(statement)


def comment(table: str, meaning: str, /, **columns: str) -> None:
    """Say in the database what a table and its columns mean, with units."""
    execute(
        f"COMMENT ON TABLE {table} IS {_quoted(meaning)}",
        *(f"COMMENT ON COLUMN {table}.{name} IS {_quoted(told)}" for name, told in columns.items()),
    )


def drop(*tables: str) -> None:
    """Drop tables, with what they hold, in this order."""
    execute(*(f"DROP TABLE {table}" for table in tables))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
