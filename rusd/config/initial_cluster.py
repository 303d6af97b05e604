"""What a member needs to know only once: who founds the cluster, and under which addresses.

Once a member has data on disk, none of this is looked at again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from rusd.config.config import Config
from rusd.config.errors import UsageError, failed_start
from rusd.config.flags import flags_of
from rusd.config.member import ClusteringFlags
from rusd.config.urls import Url, format_urls, parse_url

DEFAULT_INITIAL_CLUSTER: str = flags_of(ClusteringFlags)["initial-cluster"].default


def parse_initial_cluster(text: str) -> Mapping[str, tuple[Url, ...]]:
    """Member name → its peer URLs, sorted, from ``name=url,name=url``; a name may repeat.

    Raises :class:`ValueError` with etcd's words.
    """
    members: dict[str, list[Url]] = {}
    for part in text.split(",") if text else ():
        name, _, address = part.partition("=")
        members.setdefault(name.strip(), []).append(parse_url(address))
    return {
        name: tuple(sorted(urls, key=lambda url: (url.scheme, url.authority)))
        for name, urls in sorted(members.items())
    }


def format_initial_cluster(members: Mapping[str, Sequence[Url]]) -> str:
    """The reverse of :func:`parse_initial_cluster`."""
    return ",".join(f"{name}={url}" for name, urls in members.items() for url in urls)


def with_name(config: Config) -> Config:
    """``config`` with the default initial cluster under the member's own name and addresses."""
    if config.name == "default" or config.initial_cluster != DEFAULT_INITIAL_CLUSTER:
        return config
    members = {config.name: config.initial_advertise_peer_urls}
    return attrs.evolve(config, initial_cluster=format_initial_cluster(members))


def with_default_host(config: Config, host: str) -> Config:
    """``config`` with the machine's own ``host`` in advertised URLs left at their default.

    That is done, as in etcd, where the listener is at 0.0.0.0: other machines can't reach localhost.
    """
    changes: dict[str, Any] = {}
    for advertise, listen in _PAIRS:
        urls: tuple[Url, ...] = getattr(config, advertise)
        listeners: tuple[Url, ...] = getattr(config, listen)
        if urls == _default(advertise) and listeners and listeners[0].host == "0.0.0.0":  # noqa: S104
            changes[advertise] = (attrs.evolve(urls[0], host=host, port=listeners[0].port),)
    return with_name(attrs.evolve(config, **changes)) if changes else config


def with_ports(config: Config, *, client_ports: Sequence[int], peer_ports: Sequence[int] = ()) -> Config:
    """``config`` with the ports that were bound in place of every port 0.

    The ports are those of the client and peer listeners in the order of their URLs (no peer ports: no
    peer listeners).  Advertised URLs with port 0, and those left at their default while the listener
    has port 0, get the port of the listener in the same place; the initial cluster follows.
    """
    config = with_name(config)
    changes: dict[str, Any] = {}
    for (advertise, listen), ports in zip(_PAIRS, (peer_ports, client_ports), strict=True):
        listeners: tuple[Url, ...] = getattr(config, listen)
        urls: tuple[Url, ...] = getattr(config, advertise)
        if not ports or all(url.port for url in listeners):
            continue
        stands_at_default = advertise.replace("_", "-") not in config.explicit and urls == _default(advertise)
        if stands_at_default:
            urls = tuple(attrs.evolve(urls[0], port=0) for _ in listeners)
        changes[listen] = tuple(
            attrs.evolve(url, port=port) for url, port in zip(listeners, ports, strict=True)
        )
        changes[advertise] = _filled(urls, ports)
    changed = attrs.evolve(config, **changes)
    return attrs.evolve(changed, initial_cluster=_refounded(config, changed))


def listed_members(config: Config) -> Mapping[str, tuple[Url, ...]]:
    """The initial cluster, which has this member.  Raises :class:`UsageError` with etcd's words."""
    try:
        members = parse_initial_cluster(config.initial_cluster)
    except ValueError as error:
        raise failed_start(f"error setting up initial cluster: {error}") from None
    if config.name not in members:
        raise failed_start(f'couldn\'t find local name "{config.name}" in the initial cluster configuration')
    return members


def check_unique(members: Mapping[str, Sequence[Url]]) -> None:
    """Raise a :class:`UsageError` if a URL is listed twice."""
    listed = [url for urls in members.values() for url in urls]
    if len(set(listed)) != len(listed):
        raise failed_start(f"initial cluster {format_initial_cluster(members)} has duplicate url")


def mismatch(config: Config, own: Sequence[Url], difference: str) -> UsageError:
    """Why a founder can't start: its ``own`` URLs in the initial cluster are not those it advertises.

    ``difference`` says in what they differ.
    """
    advertised = config.initial_advertise_peer_urls
    missing = [url for url in own if url not in advertised]
    if missing:
        listed = format_initial_cluster({config.name: missing})
        return failed_start(
            f"--initial-cluster has {listed} but missing from "
            f"--initial-advertise-peer-urls={format_urls(advertised)} ({difference})"
        )
    listed = format_initial_cluster({config.name: advertised})
    extra = [url for url in advertised if url not in own]
    if extra:
        return failed_start(
            f"--initial-advertise-peer-urls has {format_urls(tuple(extra))} but missing from "
            f"--initial-cluster={listed}"
        )
    return failed_start(
        f"failed to resolve {format_urls(advertised)} to match --initial-cluster={listed} ({difference})"
    )


_PAIRS = (
    ("initial_advertise_peer_urls", "listen_peer_urls"),
    ("advertise_client_urls", "listen_client_urls"),
)


def _default(attribute: str) -> tuple[Url, ...]:
    default: tuple[Url, ...] = flags_of(ClusteringFlags)[attribute.replace("_", "-")].default
    return default


def _filled(urls: tuple[Url, ...], ports: Sequence[int]) -> tuple[Url, ...]:
    """``urls`` with each port 0 replaced by the port in the same place, or the first one."""
    return tuple(
        url if url.port or url.is_unix else attrs.evolve(url, port=ports[place if place < len(ports) else 0])
        for place, url in enumerate(urls)
    )


def _refounded(before: Config, after: Config) -> str:
    """The initial cluster, the member's own entry in it following the addresses it advertises."""
    if before.initial_advertise_peer_urls == after.initial_advertise_peer_urls:
        return before.initial_cluster
    try:
        members = dict(parse_initial_cluster(before.initial_cluster))
    except ValueError:
        return before.initial_cluster  # left to listed_members
    own = members.get(before.name, ())
    by_default = "initial-cluster" not in before.explicit
    if own and (by_default or all(url.port == 0 for url in own)):
        members[before.name] = after.initial_advertise_peer_urls
    return format_initial_cluster(members)
