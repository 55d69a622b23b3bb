"""Where SQLite and PostgreSQL differ: column types, upserts, and how many rows at once reach the driver."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Engine, Table
from sqlalchemy.dialects import postgresql, sqlite

Int: sa.types.TypeEngine[int] = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""Whole numbers of any size. STRICT tables of SQLite know INTEGER, REAL, TEXT and BLOB, and nothing else."""
Real: sa.types.TypeEngine[float] = sa.Double().with_variant(sa.REAL(), "sqlite")


class _Words(sa.types.TypeDecorator[str]):
    """Text as PostgreSQL takes it: neither NUL nor half of a surrogate pair. Names to look for come from addresses too."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:  # noqa: ARG002
        if value is None or (value.isascii() and "\0" not in value):
            return value
        return value.encode("utf-8", "replace").decode("utf-8").replace("\0", "\N{REPLACEMENT CHARACTER}")


Words: sa.types.TypeEngine[str] = sa.Text().with_variant(_Words(), "postgresql")
Blob: sa.types.TypeEngine[bytes] = sa.LargeBinary()

_PLACE = "place_"
"""What the parameters that seek a row are called by, so that they differ from those that change it."""


class Batch:
    """A statement compiled once, that takes tuples: a third of the cost of handing dictionaries to SQLAlchemy each time."""

    def __init__(self, engine: Engine, statement: sa.Insert | sa.Update, columns: Sequence[str]) -> None:
        compiled = statement.compile(dialect=engine.dialect, column_keys=[name for name in columns if not name.startswith(_PLACE)])
        self._sql = str(compiled)
        self._columns = tuple(columns)
        self._positional = compiled.positional
        order = tuple(compiled.positiontup or ())
        if self._positional and order != self._columns:
            raise ValueError(f"the driver wants {order}, not {self._columns}")

    def run(self, connection: Connection, rows: Iterable[tuple[Any, ...]]) -> None:
        """Execute once for each row; nothing where there is none."""
        rows = list(rows)
        if not rows:
            return
        if self._positional:
            connection.exec_driver_sql(self._sql, rows)
        else:
            connection.exec_driver_sql(self._sql, [dict(zip(self._columns, row, strict=True)) for row in rows])


def holds(connection: Connection, column: ColumnElement[Any], text: str) -> ColumnElement[bool]:
    """Whether a column's text holds this one, capitals or not: SQLite's LIKE ignores those of ASCII by itself, at a third of the
    cost.
    """
    alike = column.contains if connection.dialect.name == "sqlite" else column.icontains
    return alike(text, autoescape=True)


def insert(engine: Engine, table: Table, columns: Sequence[str] | None = None, *, ignore: bool = False) -> Batch:
    """Plain rows; with `ignore`, one that is there already under any unique key stays as it is."""
    statement = insert_new(engine, table) if ignore else _inserting(engine)(table)
    return Batch(engine, statement, columns or tuple(table.columns.keys()))


def insert_new(engine: Engine, table: Table) -> Any:
    """An insert that leaves alone what is there already under any unique key: what it returns are the new rows."""
    return _inserting(engine)(table).on_conflict_do_nothing()


def update(engine: Engine, table: Table, columns: Sequence[str], *keys: str) -> Batch:
    """Change these columns of the rows whose `keys`, given last, are these."""
    places = [_PLACE + key for key in keys]
    statement = sa.update(table).where(*(table.c[key] == sa.bindparam(place) for key, place in zip(keys, places, strict=True)))
    return Batch(engine, statement, (*columns, *places))


def upsert(
    engine: Engine,
    table: Table,
    *,
    add: Sequence[str] = (),
    join: Sequence[str] = (),
    put: Sequence[str] = (),
    least: Sequence[str] = (),
    most: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    key: Sequence[str] = (),
) -> Batch:
    """Insert, or where the primary key is there: add to, append to, replace, or keep the lesser or greater of the named columns.

    `key` names another unique key to go by. A NULL beside a value counts as not known: the value wins.
    """
    columns = columns or tuple(table.columns.keys())
    on_sqlite = engine.dialect.name == "sqlite"
    statement: Any = _inserting(engine)(table)
    new = statement.excluded

    def extreme(name: str, portable: Any) -> ColumnElement[Any]:
        old, now = table.c[name], new[name]
        return portable(sa.func.coalesce(old, now), sa.func.coalesce(now, old))  # type: ignore[no-any-return]

    changes: dict[str, Any] = {name: table.c[name] + new[name] for name in add}
    changes |= {name: sa.func.coalesce(_joined(table.c[name], new[name]), new[name], table.c[name]) for name in join}
    changes |= {name: new[name] for name in put}
    changes |= {name: extreme(name, sa.func.min if on_sqlite else sa.func.least) for name in least}
    changes |= {name: extreme(name, sa.func.max if on_sqlite else sa.func.greatest) for name in most}
    keys = key or [column.name for column in table.primary_key]
    return Batch(engine, statement.on_conflict_do_update(index_elements=keys, set_=changes), columns)


def _joined(old: ColumnElement[Any], new: ColumnElement[Any]) -> ColumnElement[Any]:
    """Bytes after bytes, NULL where either is: SQLite keeps them all but calls the outcome text, which a BLOB column refuses."""
    return sa.cast(old.op("||")(new), sa.LargeBinary)


def _inserting(engine: Engine) -> Callable[[Table], Any]:
    return sqlite.insert if engine.dialect.name == "sqlite" else postgresql.insert
