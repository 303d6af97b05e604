package main

// One HTTP/2 connection to a server, with gRPC calls on it, as a Go client has it: headers through HPACK
// with a dynamic table, flow control in both directions, settings and pings answered.
//
// Whoever handles an answer may start the next call from there.  What a turn writes leaves in one system
// call, when all that was read has been parsed.

import (
	"bytes"
	"encoding/binary"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	// Large, so that no row measures how often a window is opened.
	streamWindow     = 16 << 20
	connectionWindow = 1 << 30
	defaultWindow    = 65535
	readBytes        = 256 << 10
	frameHeadBytes   = 9
	messageHeadBytes = 5
	dialTimeout      = 5 * time.Second
)

// receiver is told what happens to a call.
type receiver interface {
	// message is a whole message; the bytes are valid until it returns.
	message(call *call, body []byte)
	// closed is the end of the call: nil for status 0.
	closed(call *call, err error)
}

// call is one stream.
type call struct {
	id       uint32
	receiver receiver
	started  int64 // nanoseconds since the process began, see now()
	slot     int   // for the receiver: which key, which watcher
	incoming []byte
	unacked  int
	window   int64 // how much DATA the server still takes on this stream
	outgoing []byte
	ending   bool
	status   string
	reason   string
}

// headers is what calls send besides the path.
type headers struct {
	authority string
	deadline  time.Duration       // 0 for none; varies a little from call to call, as a real client's does
	extra     []hpack.HeaderField // what else each call carries
}

type connection struct {
	loop       *eventLoop
	file       *os.File
	fd         int
	framer     *http2.Framer
	input      []byte // room for what is read
	filled     int    // how much of it is
	frame      frame  // the one that the framer reads next
	output     bytes.Buffer
	blocked    bool // the socket takes no more for now
	encoder    *hpack.Encoder
	decoder    *hpack.Decoder
	block      bytes.Buffer
	scratch    []byte
	headers    headers
	chance     uint64
	calls      map[uint32]*call
	free       []*call
	nextID     uint32
	sendWindow int64
	peerWindow int64 // a new stream's, by the server's settings
	peerFrame  int
	unacked    int
	stalled    []*call // have messages that no window has room for
	current    *call   // whose headers are being decoded
	failed     func(error)
}

// dial connects and sends the preface.  failed is told if the connection ends.
func dial(
	loop *eventLoop, address string, with headers, seed uint64, failed func(error),
) (*connection, error) {
	file, err := connect(address)
	if err != nil {
		return nil, err
	}
	with.authority = address
	c := &connection{
		loop:       loop,
		file:       file,
		fd:         int(file.Fd()),
		input:      make([]byte, readBytes),
		headers:    with,
		chance:     seed,
		calls:      map[uint32]*call{},
		nextID:     1,
		sendWindow: defaultWindow,
		peerWindow: defaultWindow,
		peerFrame:  16384,
		failed:     failed,
	}
	if err := syscall.SetNonblock(c.fd, true); err != nil {
		return nil, err
	}
	c.framer = http2.NewFramer(&c.output, &c.frame)
	c.framer.SetReuseFrames()
	c.encoder = hpack.NewEncoder(&c.block)
	c.decoder = hpack.NewDecoder(4096, c.field)
	c.output.WriteString(http2.ClientPreface)
	c.framer.WriteSettings(
		http2.Setting{ID: http2.SettingEnablePush, Val: 0},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamWindow},
	)
	c.framer.WriteWindowUpdate(0, connectionWindow-defaultWindow)
	if err := loop.add(c.fd, c.ready); err != nil {
		return nil, err
	}
	c.flush()
	return c, nil
}

// connect returns a connected TCP socket, without Nagle's delay, that Go's poller knows nothing of.
func connect(address string) (*os.File, error) {
	dialled, err := net.DialTimeout("tcp", address, dialTimeout)
	if err != nil {
		return nil, err
	}
	defer dialled.Close()
	return dialled.(*net.TCPConn).File()
}

func (c *connection) close() {
	c.loop.remove(c.fd)
	c.file.Close()
}

// -- sending -----------------------------------------------------------------------

// open starts a call by sending its headers.
func (c *connection) open(path string, to receiver) *call {
	var made *call
	if last := len(c.free) - 1; last >= 0 {
		made, c.free = c.free[last], c.free[:last]
	} else {
		made = &call{}
	}
	*made = call{
		id: c.nextID, receiver: to, window: c.peerWindow, started: now(),
		incoming: made.incoming[:0], outgoing: made.outgoing[:0],
	}
	c.nextID += 2
	c.calls[made.id] = made
	c.block.Reset()
	// In grpc-go's order.
	c.header(":method", "POST")
	c.header(":scheme", "http")
	c.header(":path", path)
	c.header(":authority", c.headers.authority)
	c.header("content-type", "application/grpc")
	c.header("user-agent", "grpc-go/1.71.1")
	c.header("te", "trailers")
	if c.headers.deadline > 0 {
		// The time left until the deadline, in microseconds: a value that is nearly always a new one.
		left := c.headers.deadline.Microseconds() - 1 - int64(c.random()%1000)
		c.header("grpc-timeout", strconv.FormatInt(left, 10)+"u")
	}
	for _, field := range c.headers.extra {
		c.encoder.WriteField(field)
	}
	c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: made.id, BlockFragment: c.block.Bytes(), EndHeaders: true,
	})
	return made
}

func (c *connection) header(name, value string) {
	c.encoder.WriteField(hpack.HeaderField{Name: name, Value: value})
}

// random is xorshift64*: a few nanoseconds, and the same numbers for the same seed.
func (c *connection) random() uint64 {
	c.chance ^= c.chance >> 12
	c.chance ^= c.chance << 25
	c.chance ^= c.chance >> 27
	return c.chance * 2685821657736338717 >> 16
}

// send sends one message; last half-closes the call.
func (c *connection) send(call *call, message []byte, last bool) {
	if len(call.outgoing) == 0 && c.fits(call, len(message)+messageHeadBytes) {
		c.scratch = append(c.scratch[:0], 0)
		c.scratch = binary.BigEndian.AppendUint32(c.scratch, uint32(len(message)))
		c.scratch = append(c.scratch, message...)
		c.sendWindow -= int64(len(c.scratch))
		call.window -= int64(len(c.scratch))
		c.framer.WriteData(call.id, last, c.scratch)
		return
	}
	if len(call.outgoing) == 0 {
		c.stalled = append(c.stalled, call)
	}
	call.outgoing = append(call.outgoing, 0)
	call.outgoing = binary.BigEndian.AppendUint32(call.outgoing, uint32(len(message)))
	call.outgoing = append(call.outgoing, message...)
	call.ending = last
	c.pump()
}

func (c *connection) fits(call *call, size int) bool {
	return size <= c.peerFrame && int64(size) <= c.sendWindow && int64(size) <= call.window
}

// pump sends what the windows allow of the messages that wait for one, in order.
func (c *connection) pump() {
	kept := c.stalled[:0]
	for _, call := range c.stalled {
		for len(call.outgoing) > 0 {
			size := min(int64(len(call.outgoing)), int64(c.peerFrame), c.sendWindow, call.window)
			if size <= 0 {
				break
			}
			end := call.ending && size == int64(len(call.outgoing))
			c.framer.WriteData(call.id, end, call.outgoing[:size])
			call.outgoing = call.outgoing[size:]
			c.sendWindow -= size
			call.window -= size
		}
		if len(call.outgoing) > 0 {
			kept = append(kept, call)
		}
	}
	c.stalled = kept
}
