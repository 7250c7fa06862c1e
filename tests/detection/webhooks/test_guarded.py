"""A webhook's address is chosen by a user; it must not lead into our own network."""

from __future__ import annotations

import socket
import threading
from ipaddress import ip_address, ip_network

import pytest
from django.conf import LazySettings

from detection.webhooks import guarded
from detection.webhooks.guarded import NotAllowed, NotSent, checked_url, post
from tests.receiver import Answer, Receiver, receiving


@pytest.fixture
def loopback(settings: LazySettings) -> None:
    settings.WEBHOOK_NETWORKS = [ip_network("127.0.0.1/32")]


PRIVATE = [
    "127.0.0.1",
    "127.255.0.3",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",  # metadata of most clouds
    "168.63.129.16",  # Azure's
    "100.100.100.200",  # Alibaba's, in the range of carriers' NAT
    "0.0.0.0",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "192.88.99.1",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "fe80::1",
    "fc00::1",
    "fd00:ec2::254",  # Amazon's metadata
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused(address):
    with pytest.raises(NotAllowed, match="private network"):
        guarded.check_address(ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_are_not(address):
    guarded.check_address(ip_address(address))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "2130706433",  # the same as one number
        "0177.0.0.1",  # octal
        "0x7f.1",  # hexadecimal, and the short form
        "127.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[0:0:0:0:0:ffff:7f00:1]",
        "[fe80::1%25lo]",
        "169.254.169.254",
        "１２７.0.0.1",  # full-width digits, which IDNA turns into ordinary ones
    ],
)
def test_every_notation_of_a_private_address_is_refused_when_it_is_given(host):
    with pytest.raises(NotAllowed):
        checked_url(f"http://{host}:8080/hook")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org/hook",
        "ftp://example.org/",
        "file:///etc/passwd",
        "gopher://example.org/",
        "javascript:alert(1)",
        "http://",
        "http:///hook",
        "https://user:secret@example.org/",
        "https://user@example.org/",
        "http://example.org:22/",
        "http://example.org:25/",
        "http://example.org:99999/",
        "http://example.org:0/",
        "http://exa mple.org/",
        "http://[::1/",
        "https://example.org/" + "x" * 600,
    ],
)
def test_what_is_no_address_of_a_receiver_is_refused(url):
    with pytest.raises(NotAllowed):
        checked_url(url)


def test_addresses_are_kept_in_their_normal_form():
    assert checked_url(" https://Bücher.example/ä?q=ö#part ") == "https://xn--bcher-kva.example/%C3%A4?q=%C3%B6"
    assert checked_url("http://example.org:8080/hook") == "http://example.org:8080/hook"


def test_a_name_that_leads_home_is_refused_when_it_is_used():
    with receiving() as receiver, pytest.raises(NotAllowed, match="private network"):
        post(f"http://localhost:{receiver.port}/", b"{}", {})
    assert receiver.received == []


def test_a_network_that_the_site_allows_is_sent_to_and_no_other(loopback):
    with receiving(Answer(201, b"made")) as receiver:
        answer = post(receiver.url, b'{"a": 1}', {"Content-Type": "application/json"})
        with pytest.raises(NotAllowed):
            post(f"http://127.0.0.2:{receiver.port}/", b"{}", {})
    assert (answer.code, answer.text) == (201, "made")
    (request,) = receiver.received
    assert (request.method, request.path, request.body) == ("POST", "/hook", b'{"a": 1}')
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"


def test_ipv4_in_ipv6_is_judged_as_the_ipv4_address_that_it_is(loopback):
    guarded.check_address(ip_address("::ffff:127.0.0.1"))
    with pytest.raises(NotAllowed):
        guarded.check_address(ip_address("::ffff:127.0.0.2"))


@pytest.fixture
def name_server(monkeypatch):
    """``rebind.example`` answers with each of these in turn. The one thing here that no test can have for real."""
    answers: list[list[str]] = []
    real = socket.getaddrinfo

    def getaddrinfo(host, port, *args, **kwargs):
        if host != "rebind.example" or kwargs.get("flags", 0) & socket.AI_NUMERICHOST:
            return real(host, port, *args, **kwargs)
        return [entry for address in answers.pop(0) for entry in real(address, port, type=socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return answers


def test_a_name_is_asked_for_once_and_the_checked_address_is_connected_to(loopback, name_server):
    """DNS rebinding: the second answer would lead elsewhere, but nobody asks a second time."""
    name_server += [["127.0.0.1"], ["127.0.0.2"]]
    with receiving() as receiver:
        assert post(f"http://rebind.example:{receiver.port}/", b"{}", {}).code == 200
    assert name_server == [["127.0.0.2"]]
    assert receiver.received[0].headers["host"] == f"rebind.example:{receiver.port}"


def test_a_name_with_a_private_address_among_public_ones_is_refused(name_server):
    name_server += [["8.8.8.8", "127.0.0.1"]]
    with pytest.raises(NotAllowed):
        post("http://rebind.example/", b"{}", {})


def test_redirects_are_not_followed(loopback):
    with receiving() as inner, receiving(Answer(307, b"", {"Location": inner.url})) as outer:
        assert post(outer.url, b"{}", {}).code == 307
    assert inner.received == []


def test_proxies_of_the_environment_are_not_used(loopback, monkeypatch):
    with receiving(Answer(200, b"proxy")) as proxy, receiving(Answer(200, b"receiver")) as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert post(receiver.url, b"{}", {}).text == "receiver"


def test_only_the_beginning_of_an_answer_is_read(loopback):
    with receiving(Answer(200, b"x" * 5_000_000)) as receiver:
        assert len(post(receiver.url, b"{}", {}).text) == guarded.MAX_ANSWER_BYTES


def test_nobody_there_and_nonsense_are_said(loopback):
    with Receiver() as gone:
        pass
    with pytest.raises(NotSent, match="failed"):
        post(gone.url, b"{}", {})
    for host in ("no-such-name.invalid", "a" * 64, "xn--0x7f", "*.example.invalid", "-", "a..b"):
        with pytest.raises(NotSent, match="name"):
            post(f"http://{host}/", b"{}", {})


def test_a_receiver_that_says_nothing_is_not_waited_for(loopback, monkeypatch):
    monkeypatch.setattr(guarded, "ANSWER_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(NotSent, match="in time"):
        post(f"http://127.0.0.1:{silent.getsockname()[1]}/", b"{}", {})


def test_with_tls_it_is_still_the_name_that_is_asked_for(loopback, name_server):
    """The address is connected to, but the certificate must be the name's: the name stands in the first message."""
    name_server += [["127.0.0.1"]]
    heard = []

    def listen(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            heard.append(connection.recv(4096))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=listen, args=(listener,))
        thread.start()
        with pytest.raises(NotSent):
            post(f"https://rebind.example:{listener.getsockname()[1]}/", b"{}", {})
        thread.join()
    assert b"rebind.example" in heard[0]
