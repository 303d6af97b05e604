"""URLs, the initial cluster, and ports that are known only after binding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rusd.config import (
    Config,
    Url,
    UsageError,
    check_unique,
    format_initial_cluster,
    format_urls,
    listed_members,
    parse_initial_cluster,
    parse_url,
    parse_urls,
    validate,
    with_default_host,
    with_ports,
)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://localhost:2379", Url("http", "localhost", 2379)),
        (" https://10.0.0.1:0 ", Url("https", "10.0.0.1", 0)),
        ("http://[::1]:2379", Url("http", "::1", 2379)),
        ("http://:2379", Url("http", "", 2379)),
        ("unix:///run/x.sock", Url("unix", "/run/x.sock", 0)),
        ("unixs://localhost:2380", Url("unixs", "localhost:2380", 0)),
    ],
)
def test_urls_are_read_and_written(text, url) -> None:
    assert parse_url(text) == url
    assert str(url) == text.strip()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("foo", "URL scheme must be http, https, unix, or unixs: foo"),
        ("ftp://1.1.1.1:80", "URL scheme must be http, https, unix, or unixs: ftp://1.1.1.1:80"),
        ("http://foo", 'URL address does not have the form "host:port": http://foo'),
        ("http://::1:80", 'URL address does not have the form "host:port": http://::1:80'),
        ("http://[::1]", 'URL address does not have the form "host:port": http://[::1]'),
        ("unix://", "URL address does not have the form of a socket path: unix://"),
        ("http://[::1", 'URL address does not have the form "host:port": http://[::1'),
        ("http://1.1.1.1:80/path", "URL must not contain a path: http://1.1.1.1:80/path"),
        ("http://1.1.1.1:80/", "URL must not contain a path: http://1.1.1.1:80/"),
        ("http://1.1.1.1:99999", 'URL address has an invalid port "99999": http://1.1.1.1:99999'),
        ("http://1.1.1.1:", 'URL address has an invalid port "": http://1.1.1.1:'),
        ("http://u:p@1.1.1.1:80", 'URL address does not have the form "host:port": http://u:p@1.1.1.1:80'),
    ],
)
def test_other_urls_are_refused_in_etcds_words(text, message) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_url(text)
    assert str(caught.value) == message


def test_lists_are_sorted_and_have_no_duplicates() -> None:
    urls = parse_urls("http://b:1,http://a:1,http://b:1,http://a:2")

    assert format_urls(urls) == "http://a:1,http://a:2,http://b:1"
    assert parse_urls("") == ()


@given(st.text(alphabet="htps:/[].ab01%@#?,unix", max_size=30))
def test_any_text_is_a_url_or_refused(text) -> None:
    try:
        url = parse_url(text)
    except ValueError:
        return
    assert parse_url(str(url)) == url


def test_the_initial_cluster_is_read_and_written() -> None:
    members = parse_initial_cluster("b=http://2:1,a=http://1:2,a=http://1:1")

    assert format_initial_cluster(members) == "a=http://1:1,a=http://1:2,b=http://2:1"
    assert parse_initial_cluster("") == {}


@pytest.mark.parametrize(
    ("argv", "cluster"),
    [
        ([], "default=http://localhost:2380"),
        (["--name=a"], "a=http://localhost:2380"),
        (["--name=a", "--initial-advertise-peer-urls=http://1.1.1.1:7"], "a=http://1.1.1.1:7"),
        (["--name=a", "--initial-cluster=a=http://1.1.1.1:7"], "a=http://1.1.1.1:7"),
    ],
)
def test_the_default_cluster_takes_name_and_addresses_once_there_is_a_name(argv, cluster, ask) -> None:
    assert ask(*argv).config.initial_cluster == cluster


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["--initial-cluster=foo"],
            "error setting up initial cluster: URL scheme must be http, https, unix, or unixs: ",
        ),
        (
            ["--initial-cluster=foo=http://1.1.1.1:2380"],
            'couldn\'t find local name "default" in the initial cluster configuration',
        ),
        (
            ["--initial-cluster=default=http://localhost:2380,b=http://localhost:2380"],
            "initial cluster b=http://localhost:2380,default=http://localhost:2380 has duplicate url",
        ),
    ],
)
def test_a_new_member_must_be_in_its_own_cluster(argv, message, ask) -> None:
    config = ask(*argv).config

    with pytest.raises(UsageError) as caught:
        check_unique(listed_members(config))
    assert (caught.value.exit_code, caught.value.message) == (1, message)
    (notice,) = caught.value.notices
    assert (notice.level, notice.msg) == ("fatal", "discovery failed")


def own_urls(config: Config) -> str:
    """As the initial cluster lists them."""
    return format_urls(listed_members(config)[config.name])


def urls(config: Config) -> tuple[str, str, str, str]:
    return (
        format_urls(config.listen_client_urls),
        format_urls(config.advertise_client_urls),
        format_urls(config.listen_peer_urls),
        format_urls(config.initial_advertise_peer_urls),
    )


def test_bound_ports_take_the_place_of_port_0_everywhere(ask) -> None:
    config = ask("--listen-client-urls=http://127.0.0.1:0", "--listen-peer-urls=http://127.0.0.1:0").config

    bound = with_ports(config, client_ports=[1111], peer_ports=[2222])

    assert urls(bound) == (
        "http://127.0.0.1:1111",
        "http://127.0.0.1:1111",
        "http://127.0.0.1:2222",
        "http://localhost:2222",
    )
    assert bound.initial_cluster == "default=http://localhost:2222"


def test_a_configuration_made_in_a_program_needs_no_more_than_port_0() -> None:
    anywhere = (Url("http", "127.0.0.1", 0),)
    config = Config(name="a", listen_client_urls=anywhere, listen_peer_urls=anywhere)

    bound = with_ports(config, client_ports=[1], peer_ports=[2])

    assert urls(bound)[1] == "http://localhost:1"
    assert bound.initial_cluster == "a=http://localhost:2"
    assert own_urls(validate(Config(name="b"), [])) == "http://localhost:2380"


def test_explicit_addresses_with_port_0_get_the_port_in_the_same_place(ask) -> None:
    config = ask(
        "--name=a",
        "--listen-client-urls=http://127.0.0.1:0,http://127.0.0.2:0",
        "--advertise-client-urls=http://x:0,http://y:0,http://z:9",
        "--listen-peer-urls=http://127.0.0.1:0",
        "--initial-advertise-peer-urls=http://x:0",
        "--initial-cluster=a=http://x:0",
    ).config

    bound = with_ports(config, client_ports=[1, 2], peer_ports=[3])

    assert urls(bound) == (
        "http://127.0.0.1:1,http://127.0.0.2:2",
        "http://x:1,http://y:2,http://z:9",
        "http://127.0.0.1:3",
        "http://x:3",
    )
    assert bound.initial_cluster == "a=http://x:3"


def test_known_ports_stay_as_they_are(ask) -> None:
    config = ask("--listen-client-urls=http://127.0.0.1:7", "--advertise-client-urls=http://x:9").config

    assert with_ports(config, client_ports=[7], peer_ports=[2380]) == config
    assert with_ports(config, client_ports=[7]) == config


def test_addresses_given_for_others_do_not_follow_the_listener(ask) -> None:
    config = ask(
        "--name=a",
        "--listen-peer-urls=http://127.0.0.1:0",
        "--initial-advertise-peer-urls=http://10.0.0.1:2380",
    ).config

    bound = with_ports(config, client_ports=[2379], peer_ports=[3])

    assert urls(bound)[2:] == ("http://127.0.0.1:3", "http://10.0.0.1:2380")
    assert bound.initial_cluster == "a=http://10.0.0.1:2380"


def test_a_cluster_that_cannot_be_read_is_left_to_the_bootstrap(ask) -> None:
    config = ask("--listen-peer-urls=http://127.0.0.1:0", "--initial-cluster=x").config

    assert with_ports(config, client_ports=[1], peer_ports=[3]).initial_cluster == "x"


def test_a_cluster_of_others_is_left_alone(ask) -> None:
    config = ask("--listen-peer-urls=http://127.0.0.1:0", "--initial-cluster=b=http://1.1.1.1:1").config

    assert with_ports(config, client_ports=[1], peer_ports=[3]).initial_cluster == "b=http://1.1.1.1:1"


def test_the_machines_address_is_advertised_for_a_listener_on_all_of_them(ask) -> None:
    config = ask(
        "--name=a",
        "--listen-peer-urls=http://0.0.0.0:7",
        "--listen-client-urls=http://0.0.0.0:8",
        "--advertise-client-urls=http://x:8",
    ).config

    advertised = with_default_host(config, "10.0.0.1")

    assert urls(advertised)[1] == "http://x:8"
    assert urls(advertised)[3] == "http://10.0.0.1:7"
    assert with_default_host(Config(), "10.0.0.1") == Config()
