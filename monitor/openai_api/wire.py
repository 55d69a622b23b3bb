"""What went over the wire in one call, noted where it happens: below the SDK.

The transport writes the note, the harness reads it. What the SDK makes of an answer, an exception in its own words, a body it
cannot decode, never matters, and the text of an exception, which may hold a whole key, is never read.
"""

import zlib
from contextvars import ContextVar
from dataclasses import dataclass

from monitor.domain.observation import TransportFault, WireAnswer

RawHeaders = tuple[tuple[bytes, bytes], ...]


@dataclass(slots=True)
class Exchange:
    """One call: what was asked, and what came back or why nothing did."""

    endpoint: str = ""
    sent: float | None = None
    """When the request reached the transport, in the loop's seconds; None if it never did."""
    ended: float | None = None
    """When the answer or its fault was there."""
    status: int | None = None
    headers: RawHeaders = ()
    body: bytes = b""
    fault: TransportFault | None = None
    fault_text: str | None = None

    def answer(self) -> WireAnswer:
        """The exchange as the classifier reads it."""
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in self.headers)
        return WireAnswer(self.status, headers, self.body, self.endpoint, self.fault, self.fault_text)


CURRENT: ContextVar[Exchange | None] = ContextVar("exchange", default=None)
"""The exchange of the call that this task is making."""


class WireFault(Exception):  # noqa: N818 - it says what happened on the wire
    """No whole answer came. Holds the cause as a word and the operating system's text, nothing of the request."""

    def __init__(self, fault: TransportFault, text: str | None = None) -> None:
        super().__init__(fault.value)
        self.fault = fault
        self.text = text


class Body:
    """The bytes of an answer, bounded as received and as unpacked.

    `identity` is asked for, but a server may pack all the same; a packed body of a kilobyte can hold a gigabyte.
    """

    def __init__(self, encoding: bytes, limit: int) -> None:
        self._limit = limit
        self._received = 0
        self._chunks: list[bytes] = []
        self._size = 0
        packed = encoding.strip().lower()
        # 32 + 15: zlib finds out by itself whether it is gzip or zlib.
        self._unpack = zlib.decompressobj(32 + zlib.MAX_WBITS) if packed in (b"gzip", b"x-gzip", b"deflate") else None

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes. Raises WireFault when there are more than the limit, or when they cannot be unpacked."""
        self._received += len(chunk)
        if self._unpack is not None and self._received <= self._limit:
            try:
                chunk = self._unpack.decompress(chunk, self._limit + 1 - self._size)
            except zlib.error:
                raise WireFault(TransportFault.NOT_HTTP, "the body cannot be unpacked") from None
        self._size += len(chunk)
        if self._size > self._limit or self._received > self._limit:
            raise WireFault(TransportFault.BODY_TOO_LARGE, f"more than {self._limit:,} bytes")
        self._chunks.append(chunk)

    def taken(self) -> bytes:
        """What came so far, unpacked."""
        return b"".join(self._chunks)


def find(headers: RawHeaders, name: bytes) -> bytes:
    """The first value of the header `name` (lower case), or nothing."""
    return next((value for key, value in headers if key.lower() == name), b"")
