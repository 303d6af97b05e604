"""The flags of encryption, of what browsers may do, and of access control."""

from __future__ import annotations

import attrs

from rusd.config.flags import flag
from rusd.config.kinds import BOOL, HOSTS, ORIGINS, STRING, STRINGS, UINT

NO_TLS_YET = "TLS is not there yet"


@attrs.frozen(slots=False, kw_only=True, repr=False, eq=False)
class SecurityFlags:
    """Security."""

    cert_file: str = flag(STRING, "", "certificate of the client listeners", not_yet=NO_TLS_YET)
    key_file: str = flag(STRING, "", "its key", not_yet=NO_TLS_YET)
    client_cert_auth: bool = flag(BOOL, False, "require client certificates", not_yet=NO_TLS_YET)
    trusted_ca_file: str = flag(STRING, "", "CA of client certificates", not_yet=NO_TLS_YET)
    client_cert_file: str = flag(STRING, "", "own certificate as a client", not_yet=NO_TLS_YET)
    client_key_file: str = flag(STRING, "", "its key", not_yet=NO_TLS_YET)
    client_crl_file: str = flag(STRING, "", "revoked client certificates", not_yet=NO_TLS_YET)
    client_cert_allowed_hostname: tuple[str, ...] = flag(
        STRINGS, (), "names a client certificate may have", not_yet=NO_TLS_YET
    )
    auto_tls: bool = flag(BOOL, False, "make a certificate for clients", not_yet=NO_TLS_YET)
    peer_cert_file: str = flag(STRING, "", "certificate of the peer listeners", not_yet=NO_TLS_YET)
    peer_key_file: str = flag(STRING, "", "its key", not_yet=NO_TLS_YET)
    peer_client_cert_auth: bool = flag(BOOL, False, "require peers' certificates", not_yet=NO_TLS_YET)
    peer_trusted_ca_file: str = flag(STRING, "", "CA of peers' certificates", not_yet=NO_TLS_YET)
    peer_client_cert_file: str = flag(STRING, "", "own certificate towards peers", not_yet=NO_TLS_YET)
    peer_client_key_file: str = flag(STRING, "", "its key", not_yet=NO_TLS_YET)
    peer_crl_file: str = flag(STRING, "", "revoked peer certificates", not_yet=NO_TLS_YET)
    peer_cert_allowed_cn: tuple[str, ...] = flag(
        STRINGS, (), "common names peers may have", not_yet=NO_TLS_YET
    )
    peer_cert_allowed_hostname: tuple[str, ...] = flag(
        STRINGS, (), "names a peer's certificate may have", not_yet=NO_TLS_YET
    )
    peer_auto_tls: bool = flag(BOOL, False, "make a certificate for peers", not_yet=NO_TLS_YET)
    peer_skip_client_san_verification: bool = flag(
        BOOL, False, "don't compare a peer's certificate with its address", not_yet=NO_TLS_YET, twin=True
    )
    self_signed_cert_validity: int = flag(UINT, 1, "years a made certificate is good for")
    cipher_suites: tuple[str, ...] = flag(STRINGS, (), "TLS ciphers by their Go names", not_yet=NO_TLS_YET)
    tls_min_version: str = flag(STRING, "TLS1.2", "TLS1.2 or TLS1.3")
    tls_max_version: str = flag(STRING, "", "TLS1.2 or TLS1.3; empty for the highest there is")
    cors: tuple[str, ...] = flag(ORIGINS, ("*",), "origins whose pages may call the JSON gateway")
    host_whitelist: tuple[str, ...] = flag(HOSTS, ("*",), "Host headers to accept without TLS")


@attrs.frozen(slots=False, kw_only=True, repr=False, eq=False)
class AuthFlags:
    """Access control."""

    auth_token: str = flag(STRING, "simple", "kind of token: simple, or jwt with its options")
    bcrypt_cost: int = flag(UINT, 10, "how costly password hashes are, 4 to 31")
    auth_token_ttl: int = flag(UINT, 300, "seconds a simple token lives unused")
