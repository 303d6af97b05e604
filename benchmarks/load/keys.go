package main

// Which key and which value a request has.

import (
	"encoding/binary"
	"fmt"
	"math/rand"
)

const (
	keyDigits = 8
	poolBytes = 1 << 20
)

// keySpace is `size` keys that begin with a prefix and end with a number of fixed width, so that the order
// of the keys is the order of the numbers.
type keySpace struct {
	prefix string
	size   int
	step   int // coprime to size: position i → number i*step mod size visits each number once
	offset int
}

func newKeySpace(prefix string, size int, order string, seed int64) (keySpace, error) {
	if size < 1 {
		return keySpace{}, fmt.Errorf("a key space needs a key")
	}
	space := keySpace{prefix: prefix, size: size, step: 1}
	switch order {
	case "sequence":
	case "permutation":
		chance := rand.New(rand.NewSource(seed))
		space.offset = chance.Intn(size)
		space.step = size/2 + chance.Intn(size/2+1)
		for space.step < 1 || greatestCommonDivisor(space.step, size) != 1 {
			space.step++
		}
	default:
		return keySpace{}, fmt.Errorf("-order is sequence or permutation, not %q", order)
	}
	return space, nil
}

// number is the position-th key's; positions beyond the size begin again.
func (k keySpace) number(position int) int {
	return (position%k.size*k.step + k.offset) % k.size
}

// appendKey writes the key with a number.
func (k keySpace) appendKey(out []byte, number int) []byte {
	out = append(out, k.prefix...)
	for range keyDigits {
		out = append(out, '0')
	}
	for at := len(out) - 1; number > 0; at-- {
		out[at] = byte('0' + number%10)
		number /= 10
	}
	return out
}

// end is the range end that takes in every key of the space.
func (k keySpace) end() []byte {
	end := []byte(k.prefix)
	end[len(end)-1]++
	return end
}

func greatestCommonDivisor(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// values are random bytes that differ from request to request: a window into a pool, stamped with a number.
type values struct {
	pool []byte
	size int
}

func newValues(size int, seed int64) values {
	pool := make([]byte, poolBytes+size)
	rand.New(rand.NewSource(seed)).Read(pool)
	return values{pool: pool, size: size}
}

// appendValue writes the n-th value.
func (v values) appendValue(out []byte, n int) []byte {
	from := int(uint64(n)*0x9E3779B97F4A7C15>>40) % poolBytes
	start := len(out)
	out = append(out, v.pool[from:from+v.size]...)
	if v.size >= 8 {
		binary.LittleEndian.PutUint64(out[start:], uint64(n))
	}
	return out
}
