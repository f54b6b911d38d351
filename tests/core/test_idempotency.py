"""What an Idempotency-Key may be, and which requests are the same."""

from __future__ import annotations

import pytest

from vproc.core.idempotency import idempotency_key


@pytest.mark.parametrize("value", ["", " ", "a" * 256, "é", "a\tb", "a\nb"])
def test_what_is_no_key_is_refused_in_words(value: str) -> None:
    with pytest.raises(ValueError, match="1 to 255 printable ASCII"):
        idempotency_key(value, path="/upload", body=b"{}")


def test_another_body_or_path_is_another_request() -> None:
    digests = {idempotency_key("k", path=path, body=body).digest for path, body in (("/a", b"1"), ("/a", b"2"), ("/b", b"1"))}
    assert len(digests) == 3
    assert idempotency_key('"k"', path="/a", body=b"1").key == '"k"'
