"""The issuer's keys, held: when they are fetched, who waits for that, and what is believed meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import anyio
import pytest
from structlog.testing import capture_logs

from tests.support.faults import ManualClock
from tests.support.issuer import Signer
from vproc.errors import ServiceUnavailableError, UnavailableError
from vproc.oidc.jwk import VerifyingKey, read_key_set
from vproc.oidc.keys import APART_S, BELIEVED_S, FRESH_S, WAITED_FOR_S, KeySet
from vproc.tasks import task_group

ONE, TWO = Signer("one"), Signer("two", number=2)


def published(*signers: Signer) -> tuple[VerifyingKey, ...]:
    return read_key_set({"keys": [signer.jwk() for signer in signers]})


@dataclass
class Source:
    """Stands for the issuer. Without ``keys`` it is away; while ``gate`` is closed it does not answer."""

    keys: tuple[VerifyingKey, ...] | None = field(default_factory=lambda: published(ONE))
    error: Exception = field(default_factory=lambda: UnavailableError("away"))
    gate: anyio.Event | None = None
    fetches: int = 0

    async def __call__(self) -> tuple[VerifyingKey, ...]:
        self.fetches += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.keys is None:
            raise self.error
        return self.keys


@dataclass
class Held:
    keys: KeySet
    source: Source
    clock: ManualClock

    async def names(self, kid: str | None = "one", algorithm: str = "ES256") -> list[str | None]:
        with anyio.fail_after(5):
            return [key.kid for key in await self.keys.find(kid, algorithm)]

    async def away(self, kid: str = "one") -> int:
        """That it cannot be known, and when to try again."""
        with pytest.raises(ServiceUnavailableError) as raised, anyio.fail_after(5):
            await self.keys.find(kid, "ES256")
        return raised.value.retry_after_s

    async def settled(self) -> None:
        """Whatever is being fetched is there."""
        with anyio.fail_after(5):
            await self.keys._landed()


@asynccontextmanager
async def held_keys() -> AsyncIterator[Held]:
    source, clock = Source(), ManualClock()
    async with task_group() as tasks:
        yield Held(KeySet(source, tasks=tasks, clock=clock), source, clock)
        tasks.cancel_scope.cancel()


async def test_many_who_ask_at_once_wait_for_one_fetch() -> None:
    async with held_keys() as held:
        held.source.gate = anyio.Event()
        found: list[list[str | None]] = []

        async def ask() -> None:
            found.append(await held.names())

        async with task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            held.source.gate.set()
        assert (found, held.source.fetches) == ([["one"]] * 50, 1)


async def test_whoever_asked_first_may_go_away() -> None:
    """The fetch is nobody's own: the others get its keys."""
    async with held_keys() as held:
        held.source.gate = anyio.Event()
        async with task_group() as tasks:
            tasks.start_soon(held.names)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        held.source.gate.set()
        assert (await held.names(), held.source.fetches) == (["one"], 1)


async def test_a_thousand_unknown_names_are_one_fetch_in_thirty_seconds() -> None:
    async with held_keys() as held:
        assert await held.names() == ["one"]
        held.clock.advance(APART_S)
        for _ in range(1000):
            assert await held.names(uuid4().hex) == []
        assert held.source.fetches == 2
        held.clock.advance(APART_S - 0.1)
        assert await held.names(uuid4().hex) == []
        assert held.source.fetches == 2
        held.clock.advance(0.2)
        assert await held.names(uuid4().hex) == []
        assert held.source.fetches == 3


async def test_a_new_key_is_found_by_its_name_and_an_old_one_goes() -> None:
    """Rotation, without a restart."""
    async with held_keys() as held:
        assert await held.names() == ["one"]
        held.source.keys = published(ONE, TWO)
        held.clock.advance(APART_S)
        assert await held.names("two") == ["two"]
        held.source.keys = published(TWO)
        held.clock.advance(FRESH_S)
        assert await held.names("one") == ["one"], "believed while it is fetched beside this"
        await held.settled()
        assert await held.names("one") == []


async def test_keys_that_are_old_are_fetched_beside_the_request() -> None:
    async with held_keys() as held:
        assert await held.names() == ["one"]
        held.source.gate = anyio.Event()
        held.clock.advance(FRESH_S - 0.1)
        assert (await held.names(), held.source.fetches) == (["one"], 1)
        held.clock.advance(0.2)
        for _ in range(3):
            assert await held.names() == ["one"]
        await anyio.wait_all_tasks_blocked()
        assert held.source.fetches == 2


async def test_keys_that_are_very_old_are_believed_only_after_a_try() -> None:
    """A process that nobody asked for hours must not believe a key that was withdrawn meanwhile."""
    async with held_keys() as held:
        assert await held.names() == ["one"]
        held.source.keys = published(TWO)
        held.clock.advance(WAITED_FOR_S)
        assert await held.names() == []
        assert await held.names("two") == ["two"]
        held.source.keys = None
        held.clock.advance(WAITED_FOR_S)
        assert await held.names("two") == ["two"], "the try failed"


async def test_old_keys_stay_while_the_issuer_is_away_for_a_day_at_most() -> None:
    async with held_keys() as held:
        assert await held.names() == ["one"]
        held.source.keys = None
        fetches = 1
        for _ in range(23):
            held.clock.advance(3600)
            assert await held.names() == ["one"]
            await held.settled()
            fetches += 1
            assert held.source.fetches == fetches
        held.clock.advance(BELIEVED_S - 23 * 3600)
        assert await held.away() == APART_S
        held.source.keys = published(ONE)
        held.clock.advance(APART_S)
        assert await held.names() == ["one"]


async def test_without_any_key_it_is_said_when_to_try_again() -> None:
    async with held_keys() as held:
        held.source.keys = None
        assert await held.away() == 30
        held.clock.advance(29.5)
        assert (await held.away(), held.source.fetches) == (1, 1)
        held.source.keys = published(ONE)
        held.clock.advance(0.5)
        assert (await held.names(), held.source.fetches) == (["one"], 2)


async def test_an_unknown_name_is_no_wrong_token_while_the_issuer_is_away() -> None:
    """It may be a new key's."""
    async with held_keys() as held:
        assert await held.names() == ["one"]
        held.source.keys = None
        held.clock.advance(APART_S)
        assert await held.away("two") == 30
        assert await held.names() == ["one"]
        held.source.keys = published(ONE, TWO)
        held.clock.advance(APART_S)
        assert await held.names("two") == ["two"]


async def test_an_error_that_nobody_expected_ends_nothing() -> None:
    async with held_keys() as held:
        held.source.keys, held.source.error = None, RuntimeError("a bug")
        with capture_logs() as logs:
            assert await held.away() == 30
        assert [(line["event"], line["log_level"], line["reason"]) for line in logs] == [
            ("issuer_keys_not_fetched", "error", "RuntimeError")
        ]
        held.source.keys = published(ONE)
        held.clock.advance(APART_S)
        assert await held.names() == ["one"]


async def test_a_failed_fetch_is_told_once_with_its_reason() -> None:
    async with held_keys() as held:
        held.source.keys = None
        with capture_logs() as logs:
            for _ in range(5):
                await held.away()
        assert [(line["event"], line["reason"], line["keys_held"]) for line in logs] == [
            ("issuer_keys_not_fetched", "away", False)
        ]


# --- names and algorithms ----------------------------------------------------------------------------------------------


async def test_a_key_is_used_with_its_own_algorithms_only() -> None:
    async with held_keys() as held:
        held.source.keys = published(ONE, Signer("rsa", "RS256"))
        assert await held.names("one", "ES256") == ["one"]
        for kid, algorithm in (("one", "RS256"), ("one", "ES384"), ("rsa", "PS256"), ("rsa", "ES256"), ("rsa", "HS256")):
            assert await held.names(kid, algorithm) == []
        assert held.source.fetches == 1, "the name is known: a newer set would not help"


async def test_without_a_name_the_only_key_is_meant() -> None:
    async with held_keys() as held:
        assert await held.names(None) == ["one"]
        held.source.keys = published(ONE, TWO)
        held.clock.advance(FRESH_S)
        await held.names(None)
        await held.settled()
        assert await held.names(None) == []
        assert held.source.fetches == 2, "no name is no reason to look for newer keys"


async def test_a_key_without_a_name_is_found_without_a_name_only() -> None:
    async with held_keys() as held:
        held.source.keys = published(Signer(None))
        assert await held.names(None) == [None]
        assert await held.names("one") == []


async def test_two_keys_of_one_name_are_both_found() -> None:
    async with held_keys() as held:
        held.source.keys = published(ONE, Signer("one", number=2), Signer("one", "ES384"))
        assert await held.names("one") == ["one", "one"]
        assert await held.names("one", "ES384") == ["one"]
