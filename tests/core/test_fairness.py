"""The group of an owner's messages."""

from __future__ import annotations

import re

import pytest

from vproc.core.fairness import message_group


def test_an_owner_is_its_own_group() -> None:
    assert message_group("ann@example.org") == "ann@example.org"


@pytest.mark.parametrize("owner", ["", "Ann Lee", "дом", "a" * 129, "a\n"])
def test_what_sqs_does_not_take_is_a_digest_of_its_own(owner: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9:]{1,128}", message_group(owner))
    assert message_group(owner) != message_group(owner + "x")
