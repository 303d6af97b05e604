"""Ways to ask for a configuration, shared by the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from rusd.config import Config, Parsed, UsageError, parse

Ask = Callable[..., Parsed]
Refuse = Callable[..., UsageError]


def no_file(path: str) -> str:
    raise AssertionError(f"read {path}")


@pytest.fixture
def ask() -> Ask:
    """``ask("--name", "a", environ={...}, file="text")`` → what parse makes of it."""

    def ask(*argv: str, environ: Mapping[str, str] | None = None, file: str | None = None) -> Parsed:
        def read(path: str) -> str:
            assert path == "rusd.yml"
            assert file is not None
            return file

        words = argv if file is None else ("--config-file", "rusd.yml", *argv)
        return parse(words, environ or {}, no_file if file is None else read)

    return ask


@pytest.fixture
def refuse(ask: Ask) -> Refuse:
    """The same for what must be refused → the error."""

    def refuse(*argv: str, environ: Mapping[str, str] | None = None, file: str | None = None) -> UsageError:
        with pytest.raises(UsageError) as caught:
            ask(*argv, environ=environ, file=file)
        return caught.value

    return refuse


@pytest.fixture
def default() -> Config:
    return Config()
