// Drives a server with etcd's own Go client: clientv3 and the recipes built on it.
//
// Usage: interop http://host:port. Prints "ok <check>" for each check that passed and ends with status 1 at
// the first that didn't.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

const patience = 60 * time.Second

type check struct {
	name string
	run  func(context.Context, *clientv3.Client) error
}

func main() {
	client, err := clientv3.New(clientv3.Config{Endpoints: os.Args[1:], DialTimeout: 10 * time.Second})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer client.Close()
	checks := []check{
		{"put and get", putAndGet}, {"errors", errorsAsValues}, {"txn", txn}, {"watch", watch},
		{"watch of a compacted past", compactedWatch}, {"many watchers", manyWatchers}, {"big values", bigValues},
		{"lease", lease}, {"mutex", mutex}, {"election", election}, {"maintenance", maintenance},
	}
	for _, one := range checks {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		err := one.run(ctx, client)
		cancel()
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", one.name, err)
			os.Exit(1)
		}
		fmt.Println("ok", one.name)
	}
}

// expect turns a failed condition into an error that shows what was found.
func expect(holds bool, found ...any) error {
	if holds {
		return nil
	}
	return fmt.Errorf("unexpected: %v", found)
}

func putAndGet(ctx context.Context, client *clientv3.Client) error {
	binary := string([]byte{0, 1, 0xfe, 0xff})
	for _, key := range []string{"k/a", "k/b", "k/" + binary} {
		if _, err := client.Put(ctx, key, "value of "+key); err != nil {
			return err
		}
	}
	before, err := client.Put(ctx, "k/a", binary, clientv3.WithPrevKV())
	if err != nil {
		return err
	}
	found, err := client.Get(ctx, "k/", clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortDescend), clientv3.WithLimit(2))
	if err != nil {
		return err
	}
	old, err := client.Get(ctx, "k/a", clientv3.WithRev(before.Header.Revision-1), clientv3.WithSerializable())
	if err != nil {
		return err
	}
	deleted, err := client.Delete(ctx, "k/b", clientv3.WithFromKey(), clientv3.WithPrevKV())
	if err != nil {
		return err
	}
	return errors.Join(
		expect(string(before.PrevKv.Value) == "value of k/a", before.PrevKv),
		expect(found.Count == 3 && found.More && len(found.Kvs) == 2 && string(found.Kvs[0].Value) == binary, found),
		expect(string(old.Kvs[0].Value) == "value of k/a", old.Kvs),
		expect(deleted.Deleted == 1 && string(deleted.PrevKvs[0].Key) == "k/b", deleted),
	)
}

// errorsAsValues: the client finds out which error it is by its text.
func errorsAsValues(ctx context.Context, client *clientv3.Client) error {
	_, empty := client.Put(ctx, "", "x")
	_, noLease := client.Put(ctx, "k", "x", clientv3.WithLease(404))
	_, future := client.Get(ctx, "k", clientv3.WithRev(1<<40))
	_, missing := client.Put(ctx, "missing", "", clientv3.WithIgnoreValue())
	_, tooLarge := client.Put(ctx, "k", string(make([]byte, 1800*1024)))
	_, duplicate := client.Txn(ctx).Then(clientv3.OpPut("k", "1"), clientv3.OpPut("k", "2")).Commit()
	timeout, cancel := context.WithTimeout(ctx, time.Nanosecond)
	defer cancel()
	_, late := client.Get(timeout, "k")
	return errors.Join(
		expect(errors.Is(empty, rpctypes.ErrEmptyKey), empty),
		expect(errors.Is(noLease, rpctypes.ErrLeaseNotFound), noLease),
		expect(errors.Is(future, rpctypes.ErrFutureRev), future),
		expect(errors.Is(missing, rpctypes.ErrKeyNotFound), missing),
		expect(errors.Is(tooLarge, rpctypes.ErrRequestTooLarge), tooLarge),
		expect(errors.Is(duplicate, rpctypes.ErrDuplicateKey), duplicate),
		expect(errors.Is(late, context.DeadlineExceeded), late),
	)
}

func txn(ctx context.Context, client *clientv3.Client) error {
	if _, err := client.Put(ctx, "t", "1"); err != nil {
		return err
	}
	nested := clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut("t/nested", "x"), clientv3.OpGet("t")}, nil)
	done, err := client.Txn(ctx).
		If(clientv3.Compare(clientv3.Value("t"), "=", "1"), clientv3.Compare(clientv3.CreateRevision("t/new"), "=", 0)).
		Then(clientv3.OpPut("t", "2"), nested, clientv3.OpDelete("t/none")).
		Else(clientv3.OpGet("t")).Commit()
	if err != nil {
		return err
	}
	inner := done.Responses[1].GetResponseTxn().Responses[1].GetResponseRange()
	again, err := client.Txn(ctx).If(clientv3.Compare(clientv3.Value("t"), "=", "1")).Else(clientv3.OpGet("t")).Commit()
	if err != nil {
		return err
	}
	_, err = concurrency.NewSTM(client, func(stm concurrency.STM) error {
		stm.Put("t/stm", stm.Get("t")+"!")
		return nil
	})
	if err != nil {
		return err
	}
	stored, err := client.Get(ctx, "t/stm")
	if err != nil {
		return err
	}
	return errors.Join(
		expect(done.Succeeded && string(inner.Kvs[0].Value) == "2", done),
		expect(!again.Succeeded && len(again.Responses) == 1, again),
		expect(string(stored.Kvs[0].Value) == "2!", stored),
	)
}

// take collects events until there are enough.
func take(channel clientv3.WatchChan, count int) ([]*clientv3.Event, error) {
	var events []*clientv3.Event
	for response := range channel {
		if err := response.Err(); err != nil {
			return events, err
		}
		if events = append(events, response.Events...); len(events) >= count {
			return events, nil
		}
	}
	return events, fmt.Errorf("the watch ended after %d events of %d", len(events), count)
}

func watch(ctx context.Context, client *clientv3.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	created := client.Watch(ctx, "w/", clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithCreatedNotify())
	if response := <-created; !response.Created {
		return fmt.Errorf("not created: %v", response)
	}
	first, err := client.Put(ctx, "w/1", "a")
	if err != nil {
		return err
	}
	for _, value := range []string{"b", "c"} {
		if _, err := client.Put(ctx, "w/1", value); err != nil {
			return err
		}
	}
	if _, err := client.Delete(ctx, "w/1"); err != nil {
		return err
	}
	live, err := take(created, 4)
	if err != nil {
		return err
	}
	old, err := take(client.Watch(ctx, "w/1", clientv3.WithRev(first.Header.Revision), clientv3.WithFilterPut()), 1)
	if err != nil {
		return err
	}
	if err := client.RequestProgress(ctx); err != nil {
		return err
	}
	progress := <-created
	return errors.Join(
		expect(live[0].IsCreate() && live[1].IsModify() && string(live[1].PrevKv.Value) == "a", live),
		expect(live[3].Type == mvccpb.DELETE && string(live[3].PrevKv.Value) == "c", live[3]),
		expect(old[0].Kv.ModRevision == live[3].Kv.ModRevision, old),
		expect(progress.IsProgressNotify() && progress.Header.Revision >= live[3].Kv.ModRevision, progress),
	)
}

func compactedWatch(ctx context.Context, client *clientv3.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	last, err := client.Put(ctx, "c", "1")
	if err != nil {
		return err
	}
	if _, err := client.Compact(ctx, last.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		return err
	}
	_, again := client.Compact(ctx, last.Header.Revision)
	response := <-client.Watch(ctx, "c", clientv3.WithRev(1))
	return errors.Join(
		expect(errors.Is(again, rpctypes.ErrCompacted), again),
		expect(errors.Is(response.Err(), rpctypes.ErrCompacted), response.Err()),
		expect(response.CompactRevision == last.Header.Revision, response),
	)
}

// manyWatchers: on one stream each, and the same events for all.
func manyWatchers(ctx context.Context, client *clientv3.Client) error {
	const watchers, puts = 100, 50
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	faults := make(chan error, watchers)
	var ready, done sync.WaitGroup
	ready.Add(watchers)
	for number := range watchers {
		done.Add(1)
		go func() {
			defer done.Done()
			channel := client.Watch(ctx, "m/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
			<-channel
			ready.Done()
			events, err := take(channel, puts)
			for index, event := range events {
				if string(event.Kv.Value) != fmt.Sprint(index) {
					err = fmt.Errorf("watcher %d, event %d is %v", number, index, event.Kv)
				}
			}
			faults <- err
		}()
	}
	ready.Wait()
	for number := range puts {
		if _, err := client.Put(ctx, fmt.Sprint("m/", number%7), fmt.Sprint(number)); err != nil {
			return err
		}
	}
	done.Wait()
	close(faults)
	var all error
	for err := range faults {
		all = errors.Join(all, err)
	}
	return all
}

// bigValues fill windows and frames in both directions.
func bigValues(ctx context.Context, client *clientv3.Client) error {
	value := bytes.Repeat([]byte("0123456789abcdef"), 60_000)
	var group sync.WaitGroup
	faults := make([]error, 4)
	for number := range faults {
		group.Add(1)
		go func() {
			defer group.Done()
			_, faults[number] = client.Put(ctx, fmt.Sprint("big/", number), string(value))
		}()
	}
	group.Wait()
	if err := errors.Join(faults...); err != nil {
		return err
	}
	// Go's client takes any size of answer unless told otherwise.
	found, err := client.Get(ctx, "big/", clientv3.WithPrefix())
	if err != nil {
		return err
	}
	for _, kv := range found.Kvs {
		if !bytes.Equal(kv.Value, value) {
			return fmt.Errorf("%s came back as %d bytes", kv.Key, len(kv.Value))
		}
	}
	return expect(len(found.Kvs) == 4, len(found.Kvs))
}

func lease(ctx context.Context, client *clientv3.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	granted, err := client.Grant(ctx, 2)
	if err != nil {
		return err
	}
	if _, err := client.Put(ctx, "l", "x", clientv3.WithLease(granted.ID)); err != nil {
		return err
	}
	kept, err := client.KeepAlive(ctx, granted.ID)
	if err != nil {
		return err
	}
	// More renewals than one life of the lease has.
	for range 5 {
		if alive := <-kept; alive == nil || alive.TTL != granted.TTL {
			return fmt.Errorf("kept alive: %v", alive)
		}
	}
	left, err := client.TimeToLive(ctx, granted.ID, clientv3.WithAttachedKeys())
	if err != nil {
		return err
	}
	all, err := client.Leases(ctx)
	if err != nil {
		return err
	}
	gone := client.Watch(ctx, "l", clientv3.WithFilterPut())
	short, err := client.Grant(ctx, 1)
	if err != nil {
		return err
	}
	if _, err := client.Put(ctx, "l", "x", clientv3.WithLease(short.ID)); err != nil {
		return err
	}
	expired, err := take(gone, 1)
	if err != nil {
		return err
	}
	if _, err := client.Revoke(ctx, granted.ID); err != nil {
		return err
	}
	_, once := client.KeepAliveOnce(ctx, granted.ID)
	return errors.Join(
		expect(left.GrantedTTL == granted.TTL && left.TTL > 0 && len(left.Keys) == 1, left),
		expect(len(all.Leases) == 1 && all.Leases[0].ID == granted.ID, all),
		expect(expired[0].Type == mvccpb.DELETE, expired),
		expect(errors.Is(once, rpctypes.ErrLeaseNotFound), once),
	)
}

// mutex: four sessions count together; the lock makes reading and writing one step.
func mutex(ctx context.Context, client *clientv3.Client) error {
	const sessions, rounds = 4, 10
	count := 0
	faults := make([]error, sessions)
	var group sync.WaitGroup
	for number := range sessions {
		group.Add(1)
		go func() {
			defer group.Done()
			session, err := concurrency.NewSession(client, concurrency.WithTTL(30))
			if err != nil {
				faults[number] = err
				return
			}
			defer session.Close()
			door := concurrency.NewMutex(session, "door")
			for range rounds {
				if faults[number] = door.Lock(ctx); faults[number] != nil {
					return
				}
				count++
				if faults[number] = door.Unlock(ctx); faults[number] != nil {
					return
				}
			}
		}()
	}
	group.Wait()
	return errors.Join(errors.Join(faults...), expect(count == sessions*rounds, count))
}

func election(ctx context.Context, client *clientv3.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sessions := make([]*concurrency.Session, 2)
	for number := range sessions {
		session, err := concurrency.NewSession(client, concurrency.WithTTL(30))
		if err != nil {
			return err
		}
		defer session.Close()
		sessions[number] = session
	}
	first, second := concurrency.NewElection(sessions[0], "seat"), concurrency.NewElection(sessions[1], "seat")
	if err := first.Campaign(ctx, "one"); err != nil {
		return err
	}
	observed := second.Observe(ctx)
	seen := []string{string((<-observed).Kvs[0].Value)}
	won := make(chan error, 1)
	go func() { won <- second.Campaign(ctx, "two") }()
	if err := first.Proclaim(ctx, "one again"); err != nil {
		return err
	}
	seen = append(seen, string((<-observed).Kvs[0].Value))
	if err := first.Resign(ctx); err != nil {
		return err
	}
	if err := <-won; err != nil {
		return err
	}
	seen = append(seen, string((<-observed).Kvs[0].Value))
	leader, err := first.Leader(ctx)
	if err != nil {
		return err
	}
	return errors.Join(
		expect(fmt.Sprint(seen) == "[one one again two]", seen),
		expect(string(leader.Kvs[0].Value) == "two", leader),
		second.Resign(ctx),
	)
}

func maintenance(ctx context.Context, client *clientv3.Client) error {
	endpoint := client.Endpoints()[0]
	status, err := client.Status(ctx, endpoint)
	if err != nil {
		return err
	}
	hash, err := client.HashKV(ctx, endpoint, 0)
	if err != nil {
		return err
	}
	same, err := client.HashKV(ctx, endpoint, hash.Header.Revision)
	if err != nil {
		return err
	}
	alarms, err := client.AlarmList(ctx)
	if err != nil {
		return err
	}
	if _, err := client.Defragment(ctx, endpoint); err != nil {
		return err
	}
	members, err := client.MemberList(ctx)
	if err != nil {
		return err
	}
	return errors.Join(
		expect(status.Leader == status.Header.MemberId && status.Version != "" && status.DbSize > 0, status),
		expect(hash.Hash == same.Hash && hash.Hash != 0, hash, same),
		expect(len(alarms.Alarms) == 0, alarms),
		expect(len(members.Members) == 1 && members.Members[0].ID == status.Leader, members),
		client.Sync(ctx),
	)
}
