"""Tokens of playback: one file, until one moment, by one secret."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from vproc.core.play_tokens import SECRET_BYTES, make_play_token, read_play_token

SECRET = bytes(range(SECRET_BYTES))
NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
ENDS = NOW + timedelta(hours=12)


@given(st.uuids(), st.binary(min_size=32, max_size=32))
def test_a_token_opens_its_file_until_its_end(file_id: UUID, secret: bytes) -> None:
    token = make_play_token(file_id, ENDS, secret)
    assert (len(token), token.isascii(), set("/+=&?#") & set(token)) == (48, True, set())
    assert read_play_token(token, secret, now=NOW) == file_id
    assert read_play_token(token, secret, now=ENDS - timedelta(seconds=1)) == file_id
    assert read_play_token(token, secret, now=ENDS) is None


@given(st.uuids(), st.integers(0, 35), st.integers(0, 7))
def test_no_bit_of_it_may_be_changed(file_id: UUID, place: int, bit: int) -> None:
    raw = bytearray(urlsafe_b64decode(make_play_token(file_id, ENDS, SECRET)))
    raw[place] ^= 1 << bit
    assert read_play_token(urlsafe_b64encode(raw).decode(), SECRET, now=NOW) is None


@given(st.uuids())
def test_another_secret_opens_nothing(file_id: UUID) -> None:
    assert read_play_token(make_play_token(file_id, ENDS, SECRET), bytes(SECRET_BYTES), now=NOW) is None


@given(st.text(max_size=60) | st.text(alphabet="ABCabc019-_=", min_size=48, max_size=48))
def test_what_is_no_token_opens_nothing(text: str) -> None:
    assert read_play_token(text, SECRET, now=NOW) is None
