"""What the queue may hold, shape by shape. The bodies follow recordings from AWS."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vproc.core.notification import Envelope, Work, parse_message
from vproc.errors import InvalidMessageError


def record(key: str = "a.mp4", *, name: str = "ObjectCreated:Put", bucket: str = "raw", **item: Any) -> dict[str, Any]:
    return {
        "eventVersion": "2.6",
        "eventSource": "aws:s3",
        "eventName": name,
        "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 1, "eTag": "e", "sequencer": "00", **item}},
    }


def s3_event(*records: dict[str, Any]) -> str:
    return json.dumps({"Records": list(records)})


def eventbridge(key: str, *, kind: str = "Object Created", **item: Any) -> str:
    detail = {"bucket": {"name": "raw"}, "object": {"key": key, **item}, "reason": "PutObject"}
    return json.dumps({"version": "0", "detail-type": kind, "source": "aws.s3", "detail": detail})


def parse(body: str) -> Envelope:
    return parse_message(body, raw_bucket="raw")


@pytest.mark.parametrize("name", ["Put", "Post", "Copy", "CompleteMultipartUpload", "SomethingNew"])
def test_every_kind_of_creation_is_work(name: str) -> None:
    assert parse(s3_event(record(name=f"ObjectCreated:{name}"))).work == (Work("raw", "a.mp4"),)


def test_every_record_is_handled_and_the_same_object_once() -> None:
    body = s3_event(record("a.mp4"), record("b.mp4"), record("a.mp4", name="ObjectCreated:CompleteMultipartUpload"))
    assert [work.key for work in parse(body).work] == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize(
    ("encoded", "key"),
    [
        ("red+flower.mp4", "red flower.mp4"),
        ("a%2Bb.mp4", "a+b.mp4"),
        ("a%40b%2Fc.mp4", "a@b/c.mp4"),
        ("5%253A00.mp4", "5%3A00.mp4"),
        ("%C3%A9%3D1.mp4", "é=1.mp4"),
        ("line%0Abreak.mp4", "line\nbreak.mp4"),
        ("trailing+", "trailing "),
    ],
)
def test_keys_in_s3_events_are_decoded_exactly_once(encoded: str, key: str) -> None:
    assert parse(s3_event(record(encoded))).work[0].key == key


@given(st.text(min_size=1, max_size=200).filter(lambda key: not key.endswith("/") and _is_text(key)))
def test_any_key_survives_the_encoding(key: str) -> None:
    assert parse(s3_event(record(quote_plus(key)))).work[0].key == key


def _is_text(key: str) -> bool:
    try:
        return len(key.encode()) <= 1024
    except UnicodeEncodeError:
        return False


def test_eventbridge_keys_are_taken_as_they_are() -> None:
    assert parse(eventbridge("a+b%20c.mp4")).work == (Work("raw", "a+b%20c.mp4"),)


def test_versions_are_kept_and_the_null_version_is_none() -> None:
    assert parse(s3_event(record(versionId="v1"))).work[0].version_id == "v1"
    assert parse(s3_event(record(versionId="null"))).work[0].version_id is None
    assert parse(eventbridge("a.mp4", **{"version-id": "v2"})).work[0].version_id == "v2"


def test_sns_wraps_an_event_or_a_test() -> None:
    def wrapped(message: str) -> str:
        return json.dumps({"Type": "Notification", "MessageId": "m", "Subject": "Amazon S3 Notification", "Message": message})

    assert parse(wrapped(s3_event(record()))).work == (Work("raw", "a.mp4"),)
    assert parse(wrapped(json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"}))).test_event


def test_the_test_event_asks_for_nothing() -> None:
    body = json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "raw", "RequestId": "r", "HostId": "h"})
    assert parse(body) == Envelope(test_event=True)


def test_other_kinds_of_event_are_left_alone_by_name() -> None:
    assert parse(s3_event(record(name="ObjectRemoved:Delete"))) == Envelope(ignored=("ObjectRemoved:Delete",))
    assert parse(eventbridge("a.mp4", kind="Object Deleted")) == Envelope(ignored=("Object Deleted",))
    assert parse(s3_event(record("folder/"))) == Envelope(ignored=("folder",))


def test_a_direct_job_may_name_its_file_profile_and_metadata() -> None:
    file_id = "7f9d63f0-0a2b-4a63-9d0c-0b6f0f8a2a11"
    body = {"bucket": "raw", "key": "a b.mp4", "file_id": file_id, "profile": "mp4", "metadata": {"job": "1"}}
    work = parse(json.dumps(body)).work[0]
    assert (work.key, str(work.file_id), work.profile, work.metadata) == ("a b.mp4", file_id, "mp4", (("job", "1"),))


def test_a_direct_job_may_choose_rungs_and_bear_an_id_of_the_clients() -> None:
    """The id stands in the file's metadata, before an entry of that name."""
    body = {"bucket": "raw", "key": "a.mp4", "rungs": [360, 720], "job_id": "order-7", "metadata": {"job_id": "x", "a": "b"}}
    work = parse(json.dumps(body)).work[0]
    assert (work.profile, work.rungs, work.metadata) == (None, (360, 720), (("a", "b"), ("job_id", "order-7")))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "a JSON list"),
        ("null", "a JSON NoneType"),
        ("{}", "neither"),
        ('{"a": NaN}', "NaN"),
        ("[" * 100_000 + "]" * 100_000, "not JSON"),
        (json.dumps({"Records": []}), "Records"),
        (json.dumps({"Records": {}}), "Records"),
        (json.dumps({"Records": [1]}), "Records[0]"),
        (json.dumps({"Records": [{"eventSource": "aws:sns"}]}), "not an S3 event"),
        (s3_event({"eventSource": "aws:s3", "eventName": "ObjectCreated:Put"}), "no s3"),
        (s3_event(record(), {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {}}), "Records[1]"),
        (s3_event(record("")), "no key"),
        (s3_event(record("k" * 1025)), "more than 1024 bytes"),
        (s3_event(record(bucket="other")), "'other'"),
        (json.dumps({"detail-type": "x", "source": "aws.ec2"}), "aws.ec2"),
        (json.dumps({"detail-type": "Object Created", "source": "aws.s3", "detail": {"object": {"key": "a"}}}), "no bucket"),
        (json.dumps({"bucket": "raw", "key": "a", "file_id": "not-a-uuid"}), "file_id"),
        (json.dumps({"bucket": "raw", "key": "a", "surprise": 1}), "surprise"),
        (json.dumps({"bucket": "raw", "key": "a", "rungs": []}), "rungs"),
        (json.dumps({"bucket": "raw", "key": "a", "rungs": [0]}), "rungs.0"),
        (json.dumps({"bucket": "raw", "key": "a", "rungs": "720"}), "rungs"),
        (json.dumps({"bucket": "raw", "key": "a", "rungs": [720], "profile": "abr:720"}), "stand twice"),
        (json.dumps({"bucket": "raw", "key": "a", "job_id": ""}), "job_id"),
        (json.dumps({"bucket": "other", "key": "a"}), "'other'"),
        (json.dumps({"bucket": "raw", "key": "\ud800"}), "key"),
        (json.dumps({"Type": "Notification", "Message": "hello"}), "not JSON"),
        ("x" * (1024 * 1024 + 1), "characters"),
    ],
)
def test_anything_else_is_invalid_with_its_reason(body: str, reason: str) -> None:
    with pytest.raises(InvalidMessageError, match=reason.replace("[", r"\[")) as caught:
        parse(body)
    assert len(caught.value.detail) < 400


_NAMES = ["Records", "s3", "object", "bucket", "name", "key", "eventSource", "eventName", "detail", "detail-type", "source",
          "Type", "Message", "Event", "file_id", "profile", "metadata", "versionId"]  # fmt: skip
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=6),
    max_leaves=25,
)


@given(_JSON | st.text(max_size=50))
def test_no_body_breaks_the_parser(body: object) -> None:
    """Whatever arrives is an envelope or `InvalidMessageError`, never another error."""
    try:
        envelope = parse(body if isinstance(body, str) else json.dumps(body))
    except InvalidMessageError:
        return
    assert isinstance(envelope, Envelope)
