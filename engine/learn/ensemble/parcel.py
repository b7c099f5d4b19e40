"""The trainings of several experts in one payload, each with its version: each can be taken or refused alone."""

from __future__ import annotations

import hashlib

import msgspec

from engine.learn.contract import ModelError

FORMAT = "papertape ensemble 1"


class Entry(msgspec.Struct, frozen=True):
    """One member's training: its payload under its SHA-256, or why there is none."""

    expert: str
    member: int
    version: str
    payload: bytes
    why: str = ""


class _Parcel(msgspec.Struct, frozen=True):
    format: str
    entries: list[Entry]


def trained(expert: str, member: int, payload: bytes) -> Entry:
    """The entry of a payload."""
    return Entry(expert, member, hashlib.sha256(payload).hexdigest(), payload)


def failed(expert: str, member: int, why: str) -> Entry:
    """The entry of a training that failed."""
    return Entry(expert, member, "", b"", why)


def pack(entries: list[Entry]) -> bytes:
    """Make one payload; the same entries give the same bytes."""
    return msgspec.msgpack.encode(_Parcel(FORMAT, entries))


def unpack(payload: bytes) -> list[Entry]:
    """Read a payload.

    Raises:
        ModelError: cut short or foreign.

    >>> [entry.why for entry in unpack(pack([failed("mlp", 0, "too few rows")]))]
    ['too few rows']
    >>> unpack(b"nonsense")
    Traceback (most recent call last):
    engine.learn.contract.ModelError: expected trained experts (papertape ensemble 1), found 8 bytes: ...
    """
    try:
        parcel = msgspec.msgpack.decode(payload, type=_Parcel)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"expected trained experts ({FORMAT}), found {len(payload)} bytes: {error}") from error
    if parcel.format != FORMAT:
        raise ModelError(f"expected the format {FORMAT!r}, found {parcel.format!r}")
    return parcel.entries


def payload_of(entry: Entry) -> bytes:
    """An entry's payload.

    Raises:
        ModelError: the training failed, or the payload is not what the entry says.
    """
    if entry.why:
        raise ModelError(f"the training failed: {entry.why}")
    found = hashlib.sha256(entry.payload).hexdigest()
    if found != entry.version:
        raise ModelError(f"expected a payload with SHA-256 {entry.version}, found {found}")
    return entry.payload
