"""Huffman-coded strings (RFC 7541 §5.2, appendix B), a whole octet at a time.

The ``hpack`` library's decoder is a state machine that takes four bits a step.  Two of its steps are put
together here and remembered: strings take a third of the time, and clients send a new deadline with every
call.  All steps there are, if somebody asks for them, take 10 MB in the whole process.
"""

from __future__ import annotations

from functools import cache

from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import HUFFMAN_COMPLETE, HUFFMAN_EMIT_SYMBOL, HUFFMAN_FAIL, HUFFMAN_TABLE


def decode_huffman(data: bytes) -> bytes:
    """What ``data`` stands for.  Raises :class:`hpack.exceptions.HPACKDecodingError`."""
    state = 0
    may_end = True
    out = []
    for octet in data:
        state, symbols, may_end = _step(state, octet)
        out.append(symbols)
    if not may_end:
        raise HPACKDecodingError("Huffman code cut short, or padded by more than seven bits")
    return b"".join(out)


@cache
def _step(state: int, octet: int) -> tuple[int, bytes, bool]:
    """The state after ``octet``, the symbols that it completes, and whether a string may end there."""
    symbols = bytearray()
    flags = 0
    for four_bits in octet >> 4, octet & 0xF:
        state, flags, symbol = HUFFMAN_TABLE[state << 4 | four_bits]
        if flags & HUFFMAN_FAIL:
            raise HPACKDecodingError("not a Huffman code")
        if flags & HUFFMAN_EMIT_SYMBOL:
            symbols.append(symbol)
    return state, bytes(symbols), bool(flags & HUFFMAN_COMPLETE)
