"""Observations in, from files that `export` wrote: another installation's history, or one's own after it was moved.

They take the road of every observation: counts, health and raw rows agree as if they had been made here. What is there already
is left alone, so a file can be taken in twice, also after answers of it were forgotten.
"""

import csv
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from monitor.domain.inventory import ProbeKind, Target
from monitor.domain.observation import Observation, RateLimitHit, RateLimitSnapshot, Verdict
from monitor.domain.redact import redact
from monitor.domain.taxonomy import FailureKind, Scope
from monitor.domain.timeline import to_ms
from monitor.store import codec, maintenance, packs, tables
from monitor.store.counts import OPEN
from monitor.store.engine import reading
from monitor.store.errors import Problem, StoreError
from monitor.store.export import OBSERVATION_COLUMNS, PIECE
from monitor.store.record import Writer
from monitor.store.register import columns_of
from monitor.store.tables import DAY, FLEET

BATCH = 500
_MOST_ERRORS = 20


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file's rows."""

    recorded: int
    known: int
    """Rows that were here already, or may have been: of days that tell of such answers, which are forgotten by now."""


class WrongFile(StoreError):  # noqa: N818 - it says what the file is
    """The file cannot be taken in; nothing of it was."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(Problem.OTHER, "\n".join(lines))


def take_in(engine: Engine, writer: Writer, path: Path) -> Imported:
    """Record every observation of a Parquet or CSV file. Raises `WrongFile` before anything is recorded, and `StoreError`.

    The file is read twice: no row is recorded before all are known to be right.
    """
    wrong = []
    for number, row in _rows(path):
        try:
            _observation(row)
        except RecursionError:
            wrong.append(f"row {number}: evidence is nested too deeply")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            wrong.append(f"row {number}: {error}")
        if len(wrong) == _MOST_ERRORS:
            break
    if wrong:
        raise WrongFile([f"{path} is not taken in; nothing of it was recorded.", *wrong])
    recorded = known = 0
    rows, told = _rows(path), _Told()
    while some := list(islice(rows, BATCH)):
        seen = _new(engine, [_observation(row) for _, row in some], told)
        for run in _runs(seen):
            writer.record(run, run[-1].at)
        recorded += len(seen)
        known += len(some) - len(seen)
    return Imported(recorded, known)


def _runs(seen: list[Observation]) -> Iterator[list[Observation]]:
    """By time, in runs that are short enough for all to count: what is older than `OPEN` when it is recorded does not."""
    run: list[Observation] = []
    for each in sorted(seen, key=attrgetter("at")):
        if run and to_ms(each.at) - to_ms(run[0].at) > OPEN:
            yield run
            run = []
        run.append(each)
    if run:
        yield run


class _Told:
    """Days that tell of answers which are forgotten here. Whether such an answer was among those that were counted cannot be known:
    it is taken for one, so that figures stay as they were reported. What this import itself counts is not meant.
    """

    def __init__(self) -> None:
        self._new: set[Target] = set()
        self._before: dict[tuple[str | None, ProbeKind, int, Verdict], bool] = {}
        """By project, probe, day and verdict: whether any was counted before this import."""

    def of(self, connection: Connection, seen: Observation, forgotten: tuple[int, int], *, known: bool) -> bool:
        """Whether the figures here tell of this answer. Good ones and others are forgotten before the moments `forgotten`; of a
        target that was not `known` when it was first asked for, nothing was ever counted here.
        """
        at, target = to_ms(seen.at), seen.target
        if at >= forgotten[0 if seen.verdict is Verdict.OK and seen.finding is None else 1]:
            return False
        if not known:
            self._new.add(target)
        place = (target.project, target.probe, at - at % DAY, seen.verdict)
        if place not in self._before:
            c, p = tables.buckets[DAY].c, tables.projects.c
            named = sa.select(p.id).where(p.name == codec.clean(target.project)).scalar_subquery()
            whose = c.project_id == (named if target.project else FLEET)
            counted = sa.select(c[seen.verdict.value]).where(whose, c.probe == tables.PROBES[target.probe], c.start == place[2])
            self._before[place] = bool(connection.execute(counted).scalar())
        return self._before[place] and target not in self._new


def _new(engine: Engine, seen: list[Observation], told: _Told) -> list[Observation]:
    """Those that are neither stored nor told of in figures."""
    answers: dict[Target, dict[int, Observation]] = defaultdict(dict)
    for each in seen:
        answers[each.target][to_ms(each.at)] = each
    o, t, p = tables.observations.c, tables.targets.c, tables.projects.c
    there: set[tuple[Target, int]] = set()
    with reading(engine) as connection:
        forgotten = maintenance.forgotten_before(connection)
        for target, wanted in answers.items():
            place = [t[name] == value for name, value in columns_of(target).items()]
            query = sa.select(t.id).outerjoin_from(tables.targets, tables.projects, p.id == t.project_id)
            query = query.where(*place, sa.func.coalesce(p.name, "") == codec.clean(target.project or ""))
            number = connection.execute(query).scalar()
            for at, each in wanted.items():
                if told.of(connection, each, forgotten, known=number is not None):
                    there.add((target, at))
            if number is None:
                continue
            ordered = sorted(wanted)
            raw = sa.select(o.at).where(o.target_id == number, o.at.in_(ordered))
            there.update((target, at) for at in connection.execute(raw).scalars())
            packed = packs.answers(connection, ordered[0], ordered[-1] + 1, [number])
            there.update((target, one.at) for one in packed)
    found = []
    for each in seen:
        mark = (each.target, to_ms(each.at))
        if mark not in there:
            there.add(mark)  # a row that stands twice in the file is one observation
            found.append(each)
    return found


# --- rows ----------------------------------------------------------------------------------------------------------------


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The rows with their numbers, from 1. Raises `WrongFile` for what is no such file."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        rows = _parquet(path) if magic == b"PAR1" else _csv(path)
        yield from enumerate(rows, 1)
    except OSError as error:
        raise WrongFile([f"{path} cannot be read: {error.strerror or error}."]) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise WrongFile([f"{path} is neither a Parquet file nor CSV in UTF-8: {error}."]) from None


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _has_columns(path, file.schema_arrow.names)
            for piece in file.iter_batches(PIECE):
                yield from piece.to_pylist()
    except pa.ArrowException as error:
        raise WrongFile([f"{path} is no Parquet file that can be read: {str(error).splitlines()[0]}."]) from None


def _csv(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        _has_columns(path, list(reader.fieldnames or ()))
        for row in reader:
            if None in row:
                raise WrongFile([f"{path}, line {reader.line_num}: more cells than columns."])
            yield {name: value if value != "" else None for name, value in row.items()}


def _has_columns(path: Path, names: list[str]) -> None:
    if missing := [name for name, _ in OBSERVATION_COLUMNS if name not in names]:
        raise WrongFile([f"{path} holds no observations as `export observations` writes them: it lacks {', '.join(missing[:5])}."])


def _observation(row: Mapping[str, Any]) -> Observation:
    """One row, checked. Raises `ValueError` and its like with words for the reader."""
    evidence = json.loads(row["evidence"]) if row["evidence"] else {}
    if not isinstance(evidence, dict):
        raise ValueError("evidence is no JSON object")  # noqa: TRY004 - bad input, not a defect
    target = Target(ProbeKind(row["probe"]), _text(row, "project"), _text(row, "key"), _text(row, "model"), _text(row, "host"))
    if (target.project is None) is not (target.probe is ProbeKind.CONTROL):
        raise ValueError("only control probes are without a project")
    return Observation(
        target=target,
        at=_time(row["at"]),
        verdict=Verdict(row["verdict"]),
        latency_ms=_number(row, "latency_ms"),
        failure=FailureKind(row["failure"]) if row["failure"] else None,
        status=_whole(row, "status"),
        code=_text(row, "code"),
        type=_text(row, "type"),
        param=_text(row, "param"),
        message=_text(row, "message"),
        request_id=_text(row, "request_id"),
        processing_ms=_number(row, "processing_ms"),
        scope=Scope(row["scope"]) if row["scope"] else None,
        retry_after=_number(evidence, "retry_after"),
        hit=_hit(evidence.get("hit")),
        hint=_text(row, "hint"),
        missing_scopes=tuple((_text(row, "missing_scopes") or "").split()),
        finding=_text(row, "finding"),
        limits=tuple(_limit(each) for each in evidence.get("limits", ())),
        project_echo=_text(row, "project_echo"),
        organization_echo=_text(row, "organization_echo"),
        tokens=_whole(evidence, "tokens") or 0,
        body=_text(evidence, "body"),
        classifier_version=_whole(row, "classifier_version") or 0,
    )


def _hit(facts: Any) -> RateLimitHit | None:
    if not facts:
        return None
    if not isinstance(facts, dict):
        raise ValueError("evidence: hit is no JSON object")  # noqa: TRY004 - bad input, not a defect
    if unknown := facts.keys() - {field.name for field in fields(RateLimitHit)}:
        raise ValueError(f"evidence: hit holds {', '.join(sorted(unknown))}, which is not known")
    return RateLimitHit(**{name: (_number if name in _HIT_NUMBERS else _text)(facts, name) for name in facts})  # type: ignore[arg-type]


_HIT_NUMBERS = ("limit", "used", "requested")


def _limit(facts: Any) -> RateLimitSnapshot:
    if not isinstance(facts, dict) or not (bucket := _text(facts, "bucket")):
        raise ValueError("evidence: a limit without its bucket")
    limit, remaining = _whole(facts, "limit"), _whole(facts, "remaining")
    return RateLimitSnapshot(bucket, limit, remaining, _number(facts, "reset"), _number(facts, "window"))


def _time(value: Any) -> datetime:
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise ValueError(f"at is no time with a zone: {value!r}")
    if not 2000 <= at.year < 3000:
        raise ValueError(f"at is out of reach: {value!r}")
    return at.astimezone(UTC)


def _text(row: Mapping[str, Any], name: str) -> str | None:
    value = row.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} is no text")
    return redact(value) if value else None  # a file may have been edited: no secret comes in by this door either


def _number(row: Mapping[str, Any], name: str) -> float | None:
    value = row.get(name)
    if value is None:
        return None
    number = float(value)
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"{name} is no such number: {value!r}")
    return number


def _whole(row: Mapping[str, Any], name: str) -> int | None:
    number = _number(row, name)
    if number is not None and number != int(number):
        raise ValueError(f"{name} is no whole number: {row[name]!r}")
    return int(number) if number is not None else None
