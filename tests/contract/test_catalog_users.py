"""Users, on both databases."""

from __future__ import annotations

from vproc.db.catalog import SqlCatalog


async def test_a_log_in_is_noted_and_the_user_found(catalog: SqlCatalog) -> None:
    assert await catalog.find_user("sub-1") is None
    noted = await catalog.note_log_in("sub-1", email="ann@example.com", name="Ann")
    assert (noted.subject, noted.email, noted.name) == ("sub-1", "ann@example.com", "Ann")
    assert await catalog.find_user("sub-1") == noted
    assert await catalog.find_user("sub-2") is None


async def test_a_later_log_in_moves_its_time_and_keeps_the_first(catalog: SqlCatalog) -> None:
    first = await catalog.note_log_in("sub-1", email="ann@example.com", name="Ann")
    second = await catalog.note_log_in("sub-1", email="ann@new.example", name="Ann B.")
    assert second.created_at == first.created_at
    assert second.last_log_in_at >= first.last_log_in_at
    assert (second.email, second.name) == ("ann@new.example", "Ann B.")


async def test_what_a_log_in_does_not_say_stays(catalog: SqlCatalog) -> None:
    await catalog.note_log_in("sub-1", email="ann@example.com", name="Ann")
    kept = await catalog.note_log_in("sub-1", email=None, name=None)
    assert (kept.email, kept.name) == ("ann@example.com", "Ann")


async def test_what_no_database_holds_is_kept_all_the_same(catalog: SqlCatalog) -> None:
    """A NUL or half a pair of UTF-16 in a name does not stand in the way of a log-in."""
    noted = await catalog.note_log_in("sub-1", email=None, name="a\0b\ud800c")
    assert noted.name == "a\ufffdb\ufffdc"


async def test_users_of_one_address_are_two(catalog: SqlCatalog) -> None:
    """Of two identity providers in one pool: the subject is the user."""
    for subject in ("sub-1", "sub-2"):
        await catalog.note_log_in(subject, email="ann@example.com", name=None)
    assert (await catalog.find_user("sub-1")) != (await catalog.find_user("sub-2"))
