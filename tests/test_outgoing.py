"""What a webhook's request connects to, and what it never does: looked at where the socket is connected."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.receiver import StubResolver, connects_recorded, receiving
from vproc.core.webhook_delivery import Sent, Trouble
from vproc.outgoing import LOOKUPS_AT_ONCE, CheckedSender

PUBLIC = "93.184.216.34"
HEADERS = {"webhook-id": "msg_1"}
LOCAL = frozenset({"127.0.0.1"})


def sender(
    *answers: str | list[str], allowed: frozenset[str] = frozenset(), timeout_s: float = 20, tls: ssl.SSLContext | None = None
) -> CheckedSender:
    lookup = StubResolver(*answers) if answers else None
    return CheckedSender(allowed_hosts=allowed, agent="vproc/1", timeout_s=timeout_s, lookup=lookup, tls=tls)


async def send(which: CheckedSender, url: str) -> Sent:
    return await which.send(url, headers=HEADERS, body=b'{"a":1}')


@pytest.mark.parametrize(
    "url",
    [
        "https://169.254.169.254/latest/meta-data", "https://[::ffff:a9fe:a9fe]/", "https://[64:ff9b::a9fe:a9fe]/",
        "https://100.64.0.1/", "https://2852039166/", "https://0xa9fea9fe/", "https://0251.0376.0251.0376/", "https://127.1/",
        "https://[2002:a9fe:a9fe::]/", "https://[2001:0:a9fe:a9fe::]/", "https://[fe80::1]/", "https://[fe80::1%25lo]/",
        "https://user@93.184.216.34/", "https://u:p@93.184.216.34/", "https://93.184.216.34:22/", "http://93.184.216.34/",
        "https://\uff11\uff12\uff17.0.0.1/", "https://127。0。0。1/", "https://①②⑦.0.0.1/", "https://[::1]/", "https://0/", "file:///etc/passwd",
        "https://localhost/", "https://93.184.216.34\\@127.0.0.1/",
    ],
)  # fmt: skip
async def test_no_forbidden_address_is_connected_to(url: str) -> None:
    with connects_recorded() as connected:
        sent = await send(sender(), url)
    assert (sent.status, connected) == (None, [])
    assert sent.trouble is Trouble.REFUSED


@pytest.mark.parametrize(
    "answer",
    [
        "169.254.169.254", "127.0.0.1", "10.0.0.1", "100.64.0.1", "::ffff:a9fe:a9fe", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::",
        "2001:0:a9fe:a9fe::", "fe80::1", "fe80::1%lo", "fd00:ec2::254", "::1", "0.0.0.0", [PUBLIC, "10.0.0.1"],
    ],
)  # fmt: skip
async def test_nor_where_a_name_stands_for_it(answer: str | list[str]) -> None:
    """All of a name's addresses have to pass, or none is tried."""
    with connects_recorded() as connected:
        sent = await send(sender(answer), "https://hooks.example/")
    assert (sent, connected) == (Sent(trouble=Trouble.REFUSED), [])


async def test_a_name_that_changes_its_mind_is_looked_at_each_time() -> None:
    """Public when it is looked at first, private afterwards: what was looked at is what is connected to."""
    async with receiving() as receiver:
        rebinding = StubResolver(PUBLIC, "169.254.169.254")
        which = CheckedSender(allowed_hosts=frozenset(), agent="vproc/1", lookup=rebinding)
        with connects_recorded(to_port=receiver.port) as connected:
            first = await send(which, "https://hooks.example/")
            second = await send(which, "https://hooks.example/")
    assert connected == [PUBLIC]
    assert (first.trouble, second.trouble) == (Trouble.UNREACHABLE, Trouble.REFUSED), "the first spoke TLS to a plain server"
    assert rebinding.asked == ["hooks.example"] * 2


async def test_names_that_nobody_answers_for_hold_up_no_other_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of S3 and SQS go by asyncio's own few threads: while strangers' names hang, they are answered."""
    asked, answer = threading.Semaphore(0), threading.Event()
    real = socket.getaddrinfo

    def hang(host: str, *rest: Any, **named: Any) -> Any:
        if host.endswith(".example"):
            asked.release()
            answer.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "nobody answers")
        return real(host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    which = sender()
    async with anyio.create_task_group() as tasks:
        for number in range(LOOKUPS_AT_ONCE):
            tasks.start_soon(send, which, f"https://hook-{number}.example/")
        try:
            for _ in range(LOOKUPS_AT_ONCE):
                assert await anyio.to_thread.run_sync(asked.acquire, True, 10)
            with anyio.fail_after(10):
                assert await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 443)
        finally:
            answer.set()


async def test_the_systems_own_resolver_is_asked() -> None:
    """A name of this machine's, which may not be connected to, and one that is none."""
    assert (await send(sender(), "https://ip6-localhost.:443/")).trouble in {Trouble.REFUSED, Trouble.UNREACHABLE}
    assert (await send(sender(), "https://no-such-name.invalid/")).trouble is Trouble.UNREACHABLE


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async with receiving() as receiver:
        receiver.then(302, Location="http://169.254.169.254/latest/meta-data").then(307, Location=receiver.url)
        with connects_recorded() as connected:
            sent = [await send(sender(allowed=LOCAL), receiver.url) for _ in range(2)]
    assert ([one.status for one in sent], connected, len(receiver.requests)) == ([302, 307], ["127.0.0.1"] * 2, 2)


async def test_the_bytes_and_headers_are_sent_as_they_are() -> None:
    async with receiving() as receiver:
        assert await send(sender(allowed=LOCAL), receiver.url) == Sent(204)
    ((headers, body),) = receiver.requests
    assert body == b'{"a":1}'
    assert {"webhook-id": "msg_1", "content-type": "application/json", "user-agent": "vproc/1"}.items() <= headers.items()
    assert "cookie" not in headers


async def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with receiving() as receiver:
        assert (await send(sender(allowed=LOCAL), receiver.url)).status == 204


async def test_what_hangs_is_given_up() -> None:
    async with receiving() as receiver:
        receiver.answers.append(receiver.hang)
        with anyio.fail_after(10):
            assert await send(sender(allowed=LOCAL, timeout_s=0.2), receiver.url) == Sent(trouble=Trouble.TIMEOUT)


async def test_a_body_of_a_gigabyte_is_not_read() -> None:
    async with receiving() as receiver:
        receiver.answers.append(receiver.flood)
        with anyio.fail_after(10):
            assert await send(sender(allowed=LOCAL), receiver.url) == Sent(200)
    assert receiver.written_bytes < 16 << 20, "what fits the sockets' buffers, and no more"


async def test_retry_after_is_told() -> None:
    async with receiving() as receiver:
        receiver.then(429, Retry_After="17")
        assert await send(sender(allowed=LOCAL), receiver.url) == Sent(429, retry_after="17")


async def test_nobody_there_is_told_without_an_error() -> None:
    async with receiving() as receiver:
        url = receiver.url
    assert await send(sender(allowed=LOCAL), url) == Sent(trouble=Trouble.UNREACHABLE)


async def test_the_certificate_is_the_names_not_the_addresss(tmp_path: Path) -> None:
    """The checked address is connected to, with the name in TLS and in Host; a certificate of another name is none."""
    server, client = certificates(tmp_path, "hooks.example")
    async with receiving(tls=server) as receiver:
        with connects_recorded(to_port=receiver.port) as connected:
            assert await send(sender(PUBLIC, tls=client), "https://hooks.example/x") == Sent(204)
            assert await send(sender(PUBLIC, tls=client), "https://other.example/x") == Sent(trouble=Trouble.UNREACHABLE)
        assert connected == [PUBLIC] * 2
    assert [headers["host"] for headers, _ in receiver.requests] == ["hooks.example"]


def certificates(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's side of a certificate of that name."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "both.pem").write_bytes(private + pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "both.pem")
    return server, ssl.create_default_context(cadata=pem.decode())
