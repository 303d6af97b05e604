package main

// Protobuf, as far as the benchmark's messages need it (https://protobuf.dev/programming-guides/encoding/).
// Written by hand because a general encoder would cost more than the rest of a request.

import (
	"encoding/binary"
	"errors"
)

const (
	varintType = 0
	bytesType  = 2
)

var errMalformed = errors.New("malformed protobuf message in an answer")

// appendBytes adds a bytes, string or message field.
func appendBytes(out []byte, field int, value []byte) []byte {
	out = binary.AppendUvarint(out, uint64(field)<<3|bytesType)
	out = binary.AppendUvarint(out, uint64(len(value)))
	return append(out, value...)
}

// appendInt adds an integer field, unless it has the default value.
func appendInt(out []byte, field int, value int64) []byte {
	if value == 0 {
		return out
	}
	out = binary.AppendUvarint(out, uint64(field)<<3|varintType)
	return binary.AppendUvarint(out, uint64(value))
}

// field is one field of a message: a number or bytes, by its wire type.
type field struct {
	number int
	value  uint64
	bytes  []byte
}

// nextField takes the first field off a message.  Only varints and bytes: etcd's API has nothing else.
func nextField(message []byte) (field, []byte, error) {
	tag, used := binary.Uvarint(message)
	if used <= 0 {
		return field{}, nil, errMalformed
	}
	message = message[used:]
	value, used := binary.Uvarint(message)
	if used <= 0 {
		return field{}, nil, errMalformed
	}
	message = message[used:]
	found := field{number: int(tag >> 3), value: value}
	switch tag & 7 {
	case varintType:
		return found, message, nil
	case bytesType:
		if value > uint64(len(message)) {
			return field{}, nil, errMalformed
		}
		found.bytes = message[:value]
		return found, message[value:], nil
	}
	return field{}, nil, errMalformed
}

// answer is what the checks need to know of any answer: its revision, integers by field, and how often
// fields of bytes occur.
type answer struct {
	revision int64
	hasHead  bool
	ints     [16]uint64
	counts   [16]int
}

// parseAnswer reads the top level of an answer and the revision of its header.
func parseAnswer(message []byte, into *answer) error {
	*into = answer{}
	for len(message) > 0 {
		found, rest, err := nextField(message)
		if err != nil {
			return err
		}
		message = rest
		if found.number >= len(into.ints) {
			continue
		}
		into.ints[found.number] = found.value
		into.counts[found.number]++
		if found.number == 1 {
			into.hasHead = true
			if into.revision, err = headerRevision(found.bytes); err != nil {
				return err
			}
		}
	}
	return nil
}

// headerRevision is field 3 of a ResponseHeader.
func headerRevision(header []byte) (int64, error) {
	for len(header) > 0 {
		found, rest, err := nextField(header)
		if err != nil {
			return 0, err
		}
		if found.number == 3 {
			return int64(found.value), nil
		}
		header = rest
	}
	return 0, nil
}

// appendLength adds the tag and the length of a bytes field whose bytes the caller writes next.
func appendLength(out []byte, field, length int) []byte {
	out = binary.AppendUvarint(out, uint64(field)<<3|bytesType)
	return binary.AppendUvarint(out, uint64(length))
}

func varintLength(value int) int {
	length := 1
	for value >= 0x80 {
		value >>= 7
		length++
	}
	return length
}
