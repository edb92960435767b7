"""The consistency token: what a client has written and seen. Carried by the client, signed, without a clock."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Self

from django.core.signals import setting_changed
from django.core.signing import BadSignature, Signer

from routers.lsn import Lsn

_FORMAT: Final = re.compile(r"([0-9a-f]{1,16})-([0-9a-f]{1,8})-([0-9a-f]{1,16})-(.{0,64})")
_LONGEST: Final = 256
_SALT: Final = "routers.consistency"


@dataclass(frozen=True, slots=True)
class Token:
    """A client has seen everything up to `lsn` of `timeline`, and what `node` showed."""

    system_identifier: int
    timeline: int
    lsn: Lsn
    node: str = ""
    """Where the client last read: a node's alias, or `default` for the primary. Empty: `lsn` says all."""

    @classmethod
    def parse(cls, payload: str) -> Self:
        """Read the part before the signature.

        >>> Token.parse("7f-1-3000148-pg2")
        Token(system_identifier=127, timeline=1, lsn=Lsn(value=50331976), node='pg2')

        Raises:
            ValueError: It is none.
        """
        match = _FORMAT.fullmatch(payload)
        if match is None:
            raise ValueError(f"not a consistency token: {payload[:_LONGEST]!r}")
        return cls(int(match[1], 16), int(match[2], 16), Lsn(int(match[3], 16)), match[4])

    def __str__(self) -> str:
        """The part before the signature.

        >>> str(Token(127, 1, Lsn(0x3000148)))
        '7f-1-3000148-'
        """
        return f"{self.system_identifier:x}-{self.timeline:x}-{self.lsn.value:x}-{self.node}"

    def merged(self, other: Token, *, several_nodes: str) -> Token:
        """What a client has seen that brings both.

        `several_nodes` stands for what no single node is known to show: what two nodes showed, or what one
        showed and a position that it need not have reached.

        >>> one, two = Token(7, 1, Lsn(5), "pg2"), Token(7, 1, Lsn(9), "pg3")
        >>> one.merged(two, several_nodes="default")
        Token(system_identifier=7, timeline=1, lsn=Lsn(value=9), node='default')
        >>> Token(7, 1, Lsn(5), "pg2").merged(Token(7, 1, Lsn(9)), several_nodes="default").node
        'default'
        >>> Token(7, 1, Lsn(9), "pg2").merged(Token(7, 1, Lsn(5)), several_nodes="default").node
        'pg2'
        """
        if self.timeline != other.timeline or self.system_identifier != other.system_identifier:
            return max(self, other, key=lambda token: token.timeline)
        newest = max(self.lsn, other.lsn)
        nodes = {self.node, other.node} - {""}
        shows_all = {token.node for token in (self, other) if token.lsn == newest} - {""}
        node = "".join(nodes) if nodes <= shows_all and len(nodes) <= 1 else several_nodes
        return Token(self.system_identifier, self.timeline, newest, node)


def sign(token: Token) -> str:
    """The token as it travels, signed with the project's SECRET_KEY."""
    return _signer().sign(str(token))


@lru_cache(maxsize=4096)
def verify(text: str) -> Token | None:
    """The token in a text that came from outside, or None if it is damaged or forged."""
    if len(text) > _LONGEST:
        return None
    try:
        return Token.parse(_signer().unsign(text))
    except (BadSignature, ValueError):
        return None


def _signer() -> Signer:
    return Signer(salt=_SALT, sep=".")


def _forget(*, setting: str, **_: object) -> None:
    if setting in {"SECRET_KEY", "SECRET_KEY_FALLBACKS"}:
        verify.cache_clear()


setting_changed.connect(_forget)
