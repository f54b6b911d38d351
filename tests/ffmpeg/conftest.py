"""Every test here runs once with each generation of ffmpeg."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.tools import GENERATIONS, Tools, using


@pytest.fixture(autouse=True, params=GENERATIONS, ids=lambda tools: tools.name)
def ffmpeg_in_use(request: pytest.FixtureRequest) -> Iterator[Tools]:
    """The pair that the test is about."""
    with using(request.param) as tools:
        yield tools


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of one clip by one generation go to one process, which encodes it once."""
    for item in items:
        called = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        if isinstance(tools := called.get("ffmpeg_in_use"), Tools):
            item.add_marker(pytest.mark.xdist_group(f"{tools.name}-{called.get('name', item.name)}"))
