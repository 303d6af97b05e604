package main

// What the calls of a run ask for, and how each answer is checked.

import "fmt"

// work makes the requests of a run.  Requests are numbered from 0; slot carries what check has to know.
type work interface {
	path() string
	request(n int, out []byte) (message []byte, slot int)
	check(slot int, answer *answer) error
}

// settings are what the works are made from.
type settings struct {
	keys   keySpace
	values values
	span   int // keys of one list or one transaction
	limit  int
	expect int
}

var works = map[string]func(settings) work{
	"put":          func(s settings) work { return putWork{s} },
	"get":          func(s settings) work { return getWork{s} },
	"cas":          func(s settings) work { return &casWork{s, make([]int64, s.keys.size)} },
	"delete":       func(s settings) work { return deleteWork{s} },
	"list":         func(s settings) work { return listWork{s} },
	"page":         func(s settings) work { return pageWork{s} },
	"count":        func(s settings) work { return countWork{s} },
	"load":         func(s settings) work { return loadWork{s} },
	"lease-grant":  func(settings) work { return grantWork{} },
	"delete-range": func(s settings) work { return deleteRangeWork{s} },
	"hashkv":       func(settings) work { return hashWork{} },
}

const (
	kv          = "/etcdserverpb.KV/"
	leasePath   = "/etcdserverpb.Lease/"
	maintenance = "/etcdserverpb.Maintenance/"
	leaseTTL    = 3600 // seconds
)

// -- one key ------------------------------------------------------------------------

type putWork struct{ settings }

func (putWork) path() string { return kv + "Put" }

func (w putWork) request(n int, out []byte) ([]byte, int) {
	return w.put(out, w.keys.number(n), n), 0
}

func (s settings) put(out []byte, number, n int) []byte {
	var key [64]byte
	out = appendBytes(out, 1, s.keys.appendKey(key[:0], number))
	return s.appendValueField(out, 2, n)
}

func (s settings) appendValueField(out []byte, field, n int) []byte {
	if s.values.size == 0 {
		return out
	}
	out = appendLength(out, field, s.values.size)
	return s.values.appendValue(out, n)
}

func (putWork) check(_ int, answer *answer) error {
	return answer.mustHaveRevision()
}

func (a *answer) mustHaveRevision() error {
	if !a.hasHead || a.revision == 0 {
		return fmt.Errorf("an answer without a revision")
	}
	return nil
}

type getWork struct{ settings }

func (getWork) path() string { return kv + "Range" }

func (w getWork) request(n int, out []byte) ([]byte, int) {
	var key [64]byte
	return appendBytes(out, 1, w.keys.appendKey(key[:0], w.keys.number(n))), 0
}

func (getWork) check(_ int, answer *answer) error {
	return answer.mustCount(1, 1)
}

// mustCount checks a RangeResponse: how many pairs are there, and how many it says match.
func (a *answer) mustCount(pairs, count int) error {
	if !a.hasHead || a.counts[2] != pairs || int(a.ints[4]) != count {
		return fmt.Errorf("%d pairs of %d, expected %d of %d", a.counts[2], a.ints[4], pairs, count)
	}
	return nil
}

type deleteWork struct{ settings }

func (deleteWork) path() string { return kv + "DeleteRange" }

func (w deleteWork) request(n int, out []byte) ([]byte, int) {
	var key [64]byte
	return appendBytes(out, 1, w.keys.appendKey(key[:0], w.keys.number(n))), 0
}

func (deleteWork) check(_ int, answer *answer) error {
	return answer.mustHaveDeleted(1)
}

func (a *answer) mustHaveDeleted(count int) error {
	if !a.hasHead || int(a.ints[2]) != count {
		return fmt.Errorf("%d keys deleted, expected %d", a.ints[2], count)
	}
	return nil
}

// casWork compares a key's revision with the one that this client saw last, and puts if they agree;
// otherwise the answer would have the key.  It is what Kubernetes does.
type casWork struct {
	settings
	seen []int64 // by number; inFlight while a call is under way
}

const inFlight = -1

func (*casWork) path() string { return kv + "Txn" }

func (w *casWork) request(n int, out []byte) ([]byte, int) {
	number, revision := w.claim(n)
	var room [1024]byte
	var keyRoom [64]byte
	key := w.keys.appendKey(keyRoom[:0], number)

	compare := appendInt(room[:0], 2, 2) // target MOD; result EQUAL is 0
	compare = appendBytes(compare, 3, key)
	if revision == 0 {
		compare = append(compare, 6<<3, 0) // mod_revision is in a oneof: present although it is 0
	} else {
		compare = appendInt(compare, 6, revision)
	}
	out = appendBytes(out, 1, compare)

	put := appendBytes(room[:0], 1, key)
	put = w.appendValueField(put, 2, n)
	out = appendOperation(out, 2, 2, put)
	return appendOperation(out, 3, 1, appendBytes(room[:0], 1, key)), number
}

// claim finds a key that no other call is changing, from the n-th on.
func (w *casWork) claim(n int) (number int, revision int64) {
	for {
		number = w.keys.number(n)
		revision = w.seen[number]
		if revision != inFlight {
			w.seen[number] = inFlight
			return number, revision
		}
		n++
	}
}

func (w *casWork) check(number int, answer *answer) error {
	w.seen[number] = answer.revision
	if answer.ints[2] != 1 {
		return fmt.Errorf("a compare-and-swap without a rival did not succeed")
	}
	return answer.mustHaveRevision()
}

// appendOperation writes a RequestOp into field `branch` of a TxnRequest.
func appendOperation(out []byte, branch, kind int, request []byte) []byte {
	size := 1 + varintLength(len(request)) + len(request)
	out = appendLength(out, branch, size)
	return appendBytes(out, kind, request)
}

// -- many keys ------------------------------------------------------------------------

// loadWork fills the space: each transaction puts `span` keys, and all of them put each key once.
type loadWork struct{ settings }

func (loadWork) path() string { return kv + "Txn" }

func (w loadWork) request(n int, out []byte) ([]byte, int) {
	var room [4096]byte
	first := n * w.span
	last := min(first+w.span, w.keys.size)
	for position := first; position < last; position++ {
		out = appendOperation(out, 2, 2, w.put(room[:0], w.keys.number(position), position))
	}
	return out, last - first
}

func (loadWork) check(puts int, answer *answer) error {
	if answer.ints[2] != 1 || answer.counts[3] != puts {
		return fmt.Errorf("a transaction of %d puts had %d results", puts, answer.counts[3])
	}
	return answer.mustHaveRevision()
}

// listWork reads `span` keys that follow one another, from anywhere in the space.
type listWork struct{ settings }

func (listWork) path() string { return kv + "Range" }

func (w listWork) request(n int, out []byte) ([]byte, int) {
	first := w.keys.number(n) % (w.keys.size - w.span + 1)
	return w.keyRange(out, first, first+w.span), 0
}

func (s settings) keyRange(out []byte, first, end int) []byte {
	var key [64]byte
	out = appendBytes(out, 1, s.keys.appendKey(key[:0], first))
	return appendBytes(out, 2, s.keys.appendKey(key[:0], end))
}

func (w listWork) check(_ int, answer *answer) error {
	return answer.mustCount(w.span, w.span)
}

// pageWork reads a page of `limit` keys from anywhere to the end of the space, as a paging client does.
type pageWork struct{ settings }

func (pageWork) path() string { return kv + "Range" }

func (w pageWork) request(n int, out []byte) ([]byte, int) {
	var key [64]byte
	first := w.keys.number(n) % (w.keys.size/2 + 1)
	out = appendBytes(out, 1, w.keys.appendKey(key[:0], first))
	out = appendBytes(out, 2, w.keys.end())
	return appendInt(out, 3, int64(w.limit)), w.keys.size - first
}

func (w pageWork) check(all int, answer *answer) error {
	return answer.mustCount(min(w.limit, all), all)
}

// countWork counts the whole space.
type countWork struct{ settings }

func (countWork) path() string { return kv + "Range" }

func (w countWork) request(_ int, out []byte) ([]byte, int) {
	out = appendBytes(out, 1, []byte(w.keys.prefix))
	out = appendBytes(out, 2, w.keys.end())
	return appendInt(out, 9, 1), 0
}

func (w countWork) check(_ int, answer *answer) error {
	return answer.mustCount(0, w.expect)
}

// deleteRangeWork deletes the n-th `span` keys of the space in one request.
type deleteRangeWork struct{ settings }

func (deleteRangeWork) path() string { return kv + "DeleteRange" }

func (w deleteRangeWork) request(n int, out []byte) ([]byte, int) {
	return w.keyRange(out, n*w.span, (n+1)*w.span), 0
}

func (w deleteRangeWork) check(_ int, answer *answer) error {
	return answer.mustHaveDeleted(w.span)
}

// -- others ---------------------------------------------------------------------------

type grantWork struct{}

func (grantWork) path() string { return leasePath + "LeaseGrant" }

func (grantWork) request(_ int, out []byte) ([]byte, int) { return appendInt(out, 1, leaseTTL), 0 }

func (grantWork) check(_ int, answer *answer) error {
	if answer.ints[2] == 0 || answer.ints[3] != leaseTTL {
		return fmt.Errorf("lease %d granted for %d s", answer.ints[2], answer.ints[3])
	}
	return answer.mustHaveRevision()
}

type hashWork struct{}

func (hashWork) path() string { return maintenance + "HashKV" }

func (hashWork) request(_ int, out []byte) ([]byte, int) { return out, 0 }

func (hashWork) check(_ int, answer *answer) error { return answer.mustHaveRevision() }

// compactWork compacts at one revision and waits until what was superseded is gone.
type compactWork struct{ revision int64 }

func (compactWork) path() string { return kv + "Compact" }

func (w compactWork) request(_ int, out []byte) ([]byte, int) {
	return appendInt(appendInt(out, 1, w.revision), 2, 1), 0
}

func (compactWork) check(_ int, answer *answer) error { return answer.mustHaveRevision() }
