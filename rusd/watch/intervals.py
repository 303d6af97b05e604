"""An interval tree: which of many half-open key ranges hold a given key.

A balanced search tree (AVL) ordered by (start, end) in which every node also knows
the largest end below it, so that whole subtrees that end before the key are skipped;
see Cormen et al., "Introduction to Algorithms", section 14.3.  Not for ranges
without an end: those are simpler (see :mod:`rusd.watch.matching`).
"""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class _Node(Generic[T]):
    __slots__ = ("end", "height", "left", "max_end", "members", "right", "start")

    def __init__(self, start: bytes, end: bytes, member: T) -> None:
        self.start = start
        self.end = end
        self.members: dict[T, None] = {member: None}
        self.max_end = end
        self.height = 1
        self.left: _Node[T] | None = None
        self.right: _Node[T] | None = None


class IntervalTree(Generic[T]):
    """Members on ranges ``[start, end)`` with ``start < end``; any number of members on one range."""

    __slots__ = ("_root",)

    def __init__(self) -> None:
        self._root: _Node[T] | None = None

    def __bool__(self) -> bool:
        return self._root is not None

    def add(self, start: bytes, end: bytes, member: T) -> None:
        """Put ``member`` on ``[start, end)``.  O(log n) in the number of distinct ranges."""
        self._root = _insert(self._root, start, end, member)

    def remove(self, start: bytes, end: bytes, member: T) -> None:
        """Take ``member`` off again.  Raises :class:`KeyError` if it is not there."""
        self._root = _delete(self._root, start, end, member)

    def find_into(self, key: bytes, found: list[T]) -> None:
        """Append the members of every range that holds ``key``.  O(log n + hits)."""
        stack: list[_Node[T] | None] = [self._root]
        while stack:
            node = stack.pop()
            while node is not None and node.max_end > key:
                if node.start <= key:
                    if node.end > key:
                        found.extend(node.members)
                    if node.right is not None:
                        stack.append(node.right)
                node = node.left

    def check(self) -> None:
        """Verify order, balance and the largest ends; raises :class:`AssertionError`."""
        _check(self._root)


def _insert(node: _Node[T] | None, start: bytes, end: bytes, member: T) -> _Node[T]:
    if node is None:
        return _Node(start, end, member)
    if (start, end) == (node.start, node.end):
        node.members[member] = None
        return node
    if (start, end) < (node.start, node.end):
        node.left = _insert(node.left, start, end, member)
    else:
        node.right = _insert(node.right, start, end, member)
    return _balance(node)


def _delete(node: _Node[T] | None, start: bytes, end: bytes, member: T) -> _Node[T] | None:
    if node is None:
        raise KeyError(member)
    if (start, end) < (node.start, node.end):
        node.left = _delete(node.left, start, end, member)
        return _balance(node)
    if (start, end) > (node.start, node.end):
        node.right = _delete(node.right, start, end, member)
        return _balance(node)
    del node.members[member]
    return node if node.members else _join(node.left, node.right)


def _join(left: _Node[T] | None, right: _Node[T] | None) -> _Node[T] | None:
    """The two subtrees of a removed node as one."""
    if left is None or right is None:
        return left or right
    rest, first = _take_first(right)
    first.left = left
    first.right = rest
    return _balance(first)


def _take_first(node: _Node[T]) -> tuple[_Node[T] | None, _Node[T]]:
    """``node``'s subtree without its first node, and that node."""
    if node.left is None:
        return node.right, node
    node.left, first = _take_first(node.left)
    return _balance(node), first


def _height(node: _Node[T] | None) -> int:
    return node.height if node is not None else 0


def _update(node: _Node[T]) -> None:
    node.height = max(_height(node.left), _height(node.right)) + 1
    end = node.end
    for child in (node.left, node.right):
        if child is not None and child.max_end > end:
            end = child.max_end
    node.max_end = end


def _balance(node: _Node[T]) -> _Node[T]:
    lean = _height(node.left) - _height(node.right)
    if lean > 1:
        assert node.left is not None
        if _height(node.left.left) < _height(node.left.right):
            node.left = _rotate_left(node.left)
        return _rotate_right(node)
    if lean < -1:
        assert node.right is not None
        if _height(node.right.right) < _height(node.right.left):
            node.right = _rotate_right(node.right)
        return _rotate_left(node)
    _update(node)
    return node


def _rotate_left(node: _Node[T]) -> _Node[T]:
    top = node.right
    assert top is not None
    node.right, top.left = top.left, node
    _update(node)
    _update(top)
    return top


def _rotate_right(node: _Node[T]) -> _Node[T]:
    top = node.left
    assert top is not None
    node.left, top.right = top.right, node
    _update(node)
    _update(top)
    return top


def _check(node: _Node[T] | None) -> list[tuple[bytes, bytes]]:
    """The ranges of a subtree in order, after checking it."""
    if node is None:
        return []
    ranges = [*_check(node.left), (node.start, node.end), *_check(node.right)]
    assert ranges == sorted(set(ranges)), "ranges out of order"
    assert node.members, "a range without members"
    assert abs(_height(node.left) - _height(node.right)) <= 1, "out of balance"
    assert node.height == max(_height(node.left), _height(node.right)) + 1, "wrong height"
    assert node.max_end == max(end for _, end in ranges), "wrong largest end"
    return ranges
