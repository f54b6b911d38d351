"""EC2's instance metadata service, version 2: what the host says of its own end. Its credentials are botocore's business.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

import aiohttp

from vproc.core.host_notice import HostNotice, NoticeKind, autoscaling_notice, spot_notice
from vproc.errors import UnavailableError

ENDPOINT = "http://169.254.169.254"
ENDPOINT_VARIABLE = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
DISABLED_VARIABLE = "AWS_EC2_METADATA_DISABLED"
_VENDOR = Path("/sys/class/dmi/id/sys_vendor")
_HYPERVISOR = Path("/sys/hypervisor/uuid")
_TOKEN_S = 21600
_LONGEST_BYTES = 4096


def metadata_endpoint(environ: Mapping[str, str], *, vendor: Path = _VENDOR, hypervisor: Path = _HYPERVISOR) -> str | None:
    """Where the service is, by botocore's variables; None on a machine that is none of EC2's, which is then asked nothing.

    Blocks on two small files.
    """
    if environ.get(DISABLED_VARIABLE, "").lower() == "true":
        return None
    if (named := environ.get(ENDPOINT_VARIABLE)) is not None:
        return named.rstrip("/")
    if environ.get("AWS_EXECUTION_ENV") == "AWS_ECS_FARGATE":
        return None  # of Amazon's make, and without the service
    on_ec2 = _text(vendor).startswith("Amazon EC2") or _text(hypervisor).startswith("ec2")
    return ENDPOINT if on_ec2 else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


class InstanceMetadata:
    """`ports.HostNotices` over an open session."""

    def __init__(self, session: aiohttp.ClientSession, endpoint: str) -> None:
        self._session = session
        self._endpoint = endpoint
        self._token: str | None = None

    async def look(self) -> tuple[HostNotice, ...]:
        """As the port says; a token of six hours, and three questions."""
        found: list[HostNotice] = []
        if (spot := await self._get("spot/instance-action")) is not None:
            found.append(spot_notice(spot))
        state = await self._get("autoscaling/target-lifecycle-state")
        if state is not None and (chosen := autoscaling_notice(state)) is not None:
            found.append(chosen)
        if await self._get("events/recommendations/rebalance") is not None:
            found.append(HostNotice(NoticeKind.REBALANCE))
        return tuple(found)

    async def _get(self, name: str) -> str | None:
        """What stands there; None where nothing does. A token that has ended is had anew, once."""
        for _ in range(2):
            if self._token is None:
                status, text = await self._ask("PUT", "latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_S)})
                if status != HTTPStatus.OK:
                    raise UnavailableError(f"the instance metadata service gave no token: {status}")
                self._token = text
            status, text = await self._ask("GET", f"latest/meta-data/{name}", {"X-aws-ec2-metadata-token": self._token})
            if status == HTTPStatus.OK:
                return text
            if status == HTTPStatus.NOT_FOUND:
                return None
            if status != HTTPStatus.UNAUTHORIZED:
                break
            self._token = None
        raise UnavailableError(f"the instance metadata service answered {status}")

    async def _ask(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        try:
            async with self._session.request(
                method, f"{self._endpoint}/{path}", headers=headers, allow_redirects=False
            ) as response:
                body = await response.content.read(_LONGEST_BYTES)
                return response.status, body.decode("ascii", "replace")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise UnavailableError(f"the instance metadata service: {type(error).__name__}") from error
