"""Random writers, compactions and slow clients against a model.

The model knows nothing of slices, publications or positions: for each watch it has the list of
events that it must hear, in order.  Every response is held against it: the next events, whole
revisions, nothing twice, nothing left out; or an end by compaction, if there was one to blame.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from etcdpb import kv_pb2, rpc_pb2
from rusd.watch import catchup
from rusd.watch import hub as hub_module
from rusd.watch import stream as stream_module

KEYS = st.sampled_from([b"a", b"aa", b"ab", b"b", b"c"])
ENDS = st.sampled_from([b"", b"", b"\x00", b"ab", b"b", b"d"])
DELETE = kv_pb2.Event.DELETE


class Heard:
    """What the model knows of one watch."""

    def __init__(self, key: bytes, end: bytes, floor: int, filters: list[int], prev_kv: bool) -> None:
        self.key = key
        self.end = end
        self.floor = floor  # the first revision it has not been sent, as far as can be told from outside
        self.was_synced = False
        self.last_header = 0
        self.filters = filters
        self.prev_kv = prev_kv
        self.created = False
        self.over = False

    def wants(self, key: bytes, deleted: bool) -> bool:
        if (1 if deleted else 0) in self.filters:
            return False
        if not self.end:
            return key == self.key
        return key >= self.key and (self.end == b"\x00" or key < self.end)


class Client:
    """One stream, its model, and the running commentary on its output."""

    def __init__(self, machine: WatchMachine) -> None:
        self.machine = machine
        self.woken = False
        self.watches: dict[int, Heard] = {}
        self.cancelling: dict[int, Heard] = {}
        self.expected_progress = 0
        self.end = machine.world.client(max_response_bytes=120)

    def pull(self, budget: int) -> None:
        for response in self.end.pull(budget):
            self._take(response)
        if not self.end.stream.has_output:
            assert not self.cancelling
            for heard in self.watches.values():
                if heard.over:
                    continue
                assert heard.created
                assert self.machine.expected(heard) == {}
                heard.floor = max(heard.floor, self.machine.world.store.current_revision + 1)
                heard.was_synced = True
        self.machine.world.hub.check()

    def _take(self, response: rpc_pb2.WatchResponse) -> None:
        if response.watch_id == -1:
            if not response.created:
                self._take_progress(response, list(self.watches.values()))
            return
        if response.canceled and not response.compact_revision:
            self.cancelling.pop(response.watch_id)
            return
        if response.watch_id in self.cancelling:
            assert not response.events  # answers that were queued before may precede it
            return
        heard = self.watches[response.watch_id]
        if response.created:
            assert not heard.created
            heard.created = True
            return
        assert heard.created
        assert not heard.over
        if response.canceled:
            self._take_overtaken(response, heard)
        elif not response.events:
            self._take_progress(response, [heard])
        else:
            self._take_events(response, heard)

    def _take_overtaken(self, response: rpc_pb2.WatchResponse, heard: Heard) -> None:
        assert response.compact_revision == self.machine.world.store.compact_revision
        assert response.header.revision == 0
        assert heard.floor < response.compact_revision
        if heard.was_synced:  # and has heard nothing since, so it can only have been hit
            assert min(self.machine.all_expected(heard)) < response.compact_revision
        heard.over = True

    def _take_progress(self, response: rpc_pb2.WatchResponse, watches: list[Heard]) -> None:
        for heard in watches:
            if not heard.created:  # asked for progress first, and created then
                continue
            assert not heard.over
            unsent = self.machine.all_expected(heard)
            assert not unsent or min(unsent) > response.header.revision

    def _take_events(self, response: rpc_pb2.WatchResponse, heard: Heard) -> None:
        assert heard.last_header <= response.header.revision <= self.machine.world.store.current_revision
        heard.last_header = response.header.revision
        heard.was_synced = False
        expected = self.machine.expected(heard)
        by_revision: dict[int, list[kv_pb2.Event]] = {}
        for event in response.events:
            by_revision.setdefault(event.kv.mod_revision, []).append(event)
        assert list(by_revision) == sorted(by_revision)
        assert list(by_revision) == list(expected)[: len(by_revision)]
        for revision, events in by_revision.items():
            told = [(e.kv.key, None if e.type == DELETE else e.kv.value) for e in events]
            assert told == expected[revision]
            for event in events:
                self._check_previous(heard, event)
            heard.floor = revision + 1
        assert response.header.revision >= heard.floor - 1

    def _check_previous(self, heard: Heard, event: kv_pb2.Event) -> None:
        before = self.machine.states[event.kv.mod_revision - 1].get(event.kv.key)
        if event.HasField("prev_kv"):
            assert heard.prev_kv
            assert event.prev_kv.value == before
        elif heard.prev_kv and before is not None:
            assert event.kv.mod_revision - 1 < self.machine.world.store.compact_revision


class WatchMachine(RuleBasedStateMachine):
    """See the module's docstring."""

    clients = Bundle("clients")
    watches = Bundle("watches")

    def __init__(self, make_world: Callable) -> None:
        super().__init__()
        self.world = make_world(max_deliveries=4, max_bytes=200)
        self.changes: dict[int, list[tuple[bytes, bytes | None]]] = {}
        self.states: dict[int, dict[bytes, bytes]] = {1: {}}
        self.counter = 0

    # -- the model

    def all_expected(self, heard: Heard) -> dict[int, list[tuple[bytes, bytes | None]]]:
        """What ``heard`` has still to be told, by revision, compactions disregarded."""
        found = {}
        for revision in range(max(heard.floor, 2), self.world.store.current_revision + 1):
            events = [
                (key, value)
                for key, value in self.changes.get(revision, [])
                if heard.wants(key, deleted=value is None)
            ]
            if events:
                found[revision] = events
        return found

    expected = all_expected

    # -- the rules

    @rule(
        burst=st.lists(st.dictionaries(KEYS, st.booleans(), min_size=1, max_size=3), min_size=1, max_size=8)
    )
    def write(self, burst: list[dict[bytes, bool]]) -> None:
        for changes in burst:
            self._write(changes)

    @rule(
        changes=st.dictionaries(KEYS, st.booleans(), min_size=2, max_size=5),
        client=clients,
        meanwhile=st.sampled_from(["nothing", "pull", "watch", "watch the past", "progress"]),
        key=KEYS,
        end=ENDS,
    )
    def write_in_steps(
        self, changes: dict[bytes, bool], client: Client, meanwhile: str, key: bytes, end: bytes
    ) -> None:
        """A revision that many hear of, and what a client does while it is being published."""

        def at_pause() -> None:
            match meanwhile:
                case "pull":
                    client.pull(1)
                case "watch":
                    self.watch(client, key, end, 0, 0, [], True, False)
                case "watch the past":
                    self.watch(client, key, end, -3, 0, [], False, False)
                case "progress":
                    client.end.stream.request_progress()

        self._write(changes, at_pause)

    def _write(self, changes: dict[bytes, bool], at_pause: Callable[[], None] | None = None) -> None:
        state = dict(self.states[self.world.store.current_revision])
        batch: list[tuple[bytes, bytes | None, int]] = []
        for key, is_put in changes.items():
            self.counter += 1
            if is_put:
                value = b"%d" % self.counter
                batch.append((key, value, 0))
                state[key] = value
            elif state.pop(key, None) is not None:
                batch.append((key, None, 0))
        if not batch:
            return
        revision = self.world.write(batch, at_pause)
        self.changes[revision] = [(key, value) for key, value, _ in batch]
        self.states[revision] = state

    @rule(share=st.floats(min_value=0, max_value=1))
    def compact(self, share: float) -> None:
        low, high = max(self.world.store.compact_revision, 1), self.world.store.current_revision
        revision = low + round((high - low) * share)
        if revision > low:
            self.world.compact(revision)

    @initialize(target=clients)
    def connect_the_first(self) -> Client:
        return Client(self)

    @rule(target=clients)
    def connect(self) -> Client:
        return Client(self)

    @rule(
        target=watches,
        client=clients,
        key=KEYS,
        end=ENDS,
        start=st.one_of(st.just(0), st.integers(min_value=-20, max_value=3)),
        watch_id=st.integers(min_value=0, max_value=3),
        filters=st.lists(st.sampled_from([0, 1, 5]), max_size=1),
        prev_kv=st.booleans(),
        notify=st.booleans(),
    )
    def watch(
        self,
        client: Client,
        key: bytes,
        end: bytes,
        start: int,
        watch_id: int,
        filters: list[int],
        prev_kv: bool,
        notify: bool,
    ) -> object:
        current = self.world.store.current_revision
        start = max(current + start, 1) if start else 0  # near the present, where it is interesting
        made = client.end.watch(
            key, end, start, watch_id=watch_id, filters=filters, prev_kv=prev_kv, progress_notify=notify
        )
        empty = end not in {b"", b"\x00"} and end <= key
        duplicate = watch_id != 0 and watch_id in client.watches
        assert (made == -1) == (empty or duplicate)
        if made == -1:
            return multiple()
        client.watches[made] = Heard(key, end, start or current + 1, filters, prev_kv)
        return (client, made)

    @rule(watch=consumes(watches))
    def cancel(self, watch: tuple[Client, int]) -> None:
        client, watch_id = watch
        known = watch_id in client.watches and watch_id not in client.cancelling
        if not known:
            return
        assert client.end.stream.cancel(watch_id)
        client.cancelling[watch_id] = client.watches.pop(watch_id)
        # Until the answer is out the model can't tell an old id's output from a new one's.
        client.pull(1)

    @rule(client=clients, budget=st.sampled_from([1, 100, 1000]), times=st.integers(min_value=1, max_value=4))
    def pull(self, client: Client, budget: int, times: int) -> None:
        for _ in range(times):
            client.pull(budget)

    @rule(client=clients)
    def drain(self, client: Client) -> None:
        while client.end.stream.has_output:
            client.pull(50)

    @rule(client=clients)
    def request_progress(self, client: Client) -> None:
        client.end.stream.request_progress()

    @rule(client=clients)
    def tick_progress(self, client: Client) -> None:
        client.end.stream.tick_progress()

    @rule(client=consumes(clients))
    def disconnect(self, client: Client) -> None:
        client.end.stream.close()
        client.watches.clear()
        client.cancelling.clear()

    @invariant()
    def the_hub_is_sound(self) -> None:
        self.world.hub.check()

    def teardown(self) -> None:
        for stream in list(self.world.hub.streams):
            while stream.has_output:
                stream.pull(100)
        assert self.world.hub.slow_watcher_count == 0
        assert self.world.hub.pending_count == 0


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits so small that a few writes take several slices, batches and publications."""
    monkeypatch.setattr(catchup, "SLICE_STEPS", 3)
    monkeypatch.setattr(catchup, "BATCH_REVISIONS", 2)
    monkeypatch.setattr(catchup, "HELD_BYTES", 100)
    monkeypatch.setattr(catchup, "LEAVING_AT_ONCE", 2)
    monkeypatch.setattr(stream_module, "LEAVING_AT_ONCE", 2)
    monkeypatch.setattr(catchup, "PIECE_BYTES", 70)
    monkeypatch.setattr(catchup, "_HEAD_BYTES", 0)
    monkeypatch.setattr(hub_module, "MANY_EVENTS", 1)


@pytest.mark.usefixtures("tiny")
def test_every_watcher_hears_everything_once_or_is_told_that_it_can_not(make_world: Callable) -> None:
    run_state_machine_as_test(
        lambda: WatchMachine(make_world),
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("seed", range(30))
def test_the_same_holds_on_long_busy_walks(make_world: Callable, seed: int) -> None:
    """Hypothesis shrinks well but wanders little; these walks are deep, and repeat by their seed."""
    chance = random.Random(seed)
    machine = WatchMachine(make_world)
    machine.clients = [Client(machine) for _ in range(3)]  # type: ignore[assignment]
    watches: list[tuple[Client, int]] = []
    for _ in range(400):
        _step(machine, chance, watches)
        machine.world.hub.check()
    for client in machine.clients:  # type: ignore[attr-defined]
        machine.drain(client)
    machine.teardown()


def _step(machine: WatchMachine, chance: random.Random, watches: list[tuple[Client, int]]) -> None:
    client = chance.choice(machine.clients)  # type: ignore[arg-type]
    rules = ["write", "steps", "watch", "pull", "drain", "cancel", "compact", "progress", "tick"]
    match chance.choices(rules, [25, 10, 12, 30, 5, 5, 3, 10, 3])[0]:
        case "write":
            keys = [b"a", b"aa", b"ab", b"b", b"c"]
            machine.write(
                [
                    {key: chance.random() < 0.7 for key in chance.sample(keys, chance.choice([1, 1, 2, 3]))}
                    for _ in range(chance.choice([1, 1, 2, 5]))
                ]
            )
        case "steps":
            keys = [b"a", b"aa", b"ab", b"b", b"c"]
            machine.write_in_steps(
                {key: chance.random() < 0.7 for key in chance.sample(keys, chance.choice([2, 3, 5]))},
                client,
                chance.choice(["nothing", "pull", "pull", "watch", "watch the past", "progress"]),
                chance.choice(keys),
                chance.choice([b"", b"", b"\x00", b"ab", b"d"]),
            )
        case "watch":
            made = machine.watch(
                client=client,
                key=chance.choice([b"a", b"aa", b"b"]),
                end=chance.choice([b"", b"\x00", b"ab", b"d"]),
                start=chance.choice([0, 0, -20, -10, -3, 2]),
                watch_id=chance.choice([0, 0, 0, 1, 2]),
                filters=chance.choice([[], [], [0], [1]]),
                prev_kv=chance.random() < 0.5,
                notify=chance.random() < 0.5,
            )
            if isinstance(made, tuple):
                watches.append(made)
        case "pull":
            machine.pull(client, chance.choice([1, 1, 100]), chance.choice([1, 1, 2]))
        case "drain":
            machine.drain(client)
        case "cancel" if watches:
            machine.cancel(watches.pop(chance.randrange(len(watches))))
        case "compact":
            machine.compact(chance.random())
        case "progress":
            machine.request_progress(client)
        case "tick":
            machine.tick_progress(client)
