"""Where a webhook may go, and every way round that anybody has found."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vproc.core.webhook_target import TargetError, check_address, read_target


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://hooks.example.org/vproc?a=b", "hooks.example.org", 443),
        ("https://hooks.example.org:8443/", "hooks.example.org", 8443),
        ("https://HOOKS.example.org./x", "hooks.example.org", 443),
        ("https://93.184.216.34/x", "93.184.216.34", 443),
        ("https://[2606:2800:220:1:248:1893:25c8:1946]/x", "2606:2800:220:1:248:1893:25c8:1946", 443),
    ],
)
def test_public_addresses_by_https_are_taken(url: str, host: str, port: int) -> None:
    target = read_target(url)
    assert (target.host, target.port, target.trusted) == (host, port, False)


@pytest.mark.parametrize(
    "url",
    [
        "", "x", "http://hooks.example.org/", "ftp://hooks.example.org/", "file:///etc/passwd", "https://", "https:///x",
        "https://user@hooks.example.org/", "https://u:p@hooks.example.org/", "https://hooks.example.org:22/",
        "https://hooks.example.org:6379/", "https://hooks.example.org:99999/", "https://[::1/", "https://a/" + "x" * 3000,
        "gopher://hooks.example.org/", "//hooks.example.org/", "https://hooks.example.org:0x1bb/",
    ],
)  # fmt: skip
def test_anything_else_is_refused(url: str) -> None:
    with pytest.raises(TargetError):
        read_target(url)


FORBIDDEN = (
    "127.0.0.1", "127.1", "127.0.1", "0x7f000001", "0x7f.1", "2130706433", "017700000001", "0.0.0.0", "0",
    "169.254.169.254", "169.254.170.2", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "192.0.0.1", "192.0.2.1",
    "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::a9fe:a9fe]", "[2002:a9fe:a9fe::]", "[2001:0:a9fe:a9fe::]", "[::a9fe:a9fe]", "[fd00:ec2::254]", "[fe80::1]",
    "[fc00::1]", "[ff02::1]", "[2001:db8::1]", "[100::1]",
    "[64:ff9b:1:a9fe:a9:fe00:808:808]", "[fec0::1]", "[3fff::1]",
)  # fmt: skip


@pytest.mark.parametrize("host", FORBIDDEN)
def test_no_private_address_is_taken_however_it_is_written(host: str) -> None:
    with pytest.raises(TargetError, match="address"):
        read_target(f"https://{host}/")


@pytest.mark.parametrize("host", [host for host in FORBIDDEN if host.startswith("[") or host.count(".") == 3])
def test_nor_where_a_name_resolves_to_it(host: str) -> None:
    with pytest.raises(TargetError):
        check_address(ip_address(host.strip("[]")))


@given(st.ip_addresses(v=4))
def test_an_address_in_another_form_is_as_good_as_itself(address: object) -> None:
    """Mapped and by NAT64."""
    forms = [address, ip_address(f"::ffff:{address}"), ip_address(int(ip_address("64:ff9b::")) + int(ip_address(str(address))))]
    told = set()
    for form in forms:
        try:
            check_address(form)  # type: ignore[arg-type]
            told.add(True)
        except TargetError:
            told.add(False)
    assert len(told) == 1


@pytest.mark.parametrize("url", ["http://hooks.internal:8080/x", "https://hooks.internal/", "http://10.0.0.7:9000/"])
def test_what_the_operator_names_is_taken(url: str) -> None:
    assert read_target(url, ["HOOKS.internal", "10.0.0.7"]).trusted
    other = url.replace("hooks", "other").replace("10.0.0.7", "10.0.0.8")
    with suppress(TargetError):  # what a name stands for is looked at when it is resolved
        assert not read_target(other, ["hooks.internal", "10.0.0.7"]).trusted


@given(st.text(max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    with suppress(TargetError):
        assert read_target(f"https://{text}/").port in {443, 8443}
