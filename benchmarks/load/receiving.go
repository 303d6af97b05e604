package main

// The receiving half of a connection: frames off the socket, messages and statuses to whoever made the call.

import (
	"encoding/binary"
	"fmt"
	"io"
	"syscall"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frame is a whole frame, for the framer to read.
type frame struct{ rest []byte }

func (f *frame) Read(into []byte) (int, error) {
	if len(f.rest) == 0 {
		return 0, io.EOF
	}
	count := copy(into, f.rest)
	f.rest = f.rest[count:]
	return count, nil
}

// ready is the loop's: the socket can be read, or written again.
func (c *connection) ready(events uint32) {
	if events&syscall.EPOLLOUT != 0 {
		c.blocked = false
		c.loop.wantWrite(c.fd, false)
	}
	if events&^syscall.EPOLLOUT != 0 {
		if err := c.receive(); err != nil {
			c.failed(err)
			return
		}
	}
	c.flush()
}

// receive reads once and handles all whole frames.
func (c *connection) receive() error {
	count, err := read(c.fd, c.input[c.filled:])
	if err != nil {
		return err
	}
	c.filled += count
	rest := c.input[:c.filled]
	for len(rest) >= frameHeadBytes {
		size := frameHeadBytes + int(rest[0])<<16 + int(rest[1])<<8 + int(rest[2])
		if len(rest) < size {
			break
		}
		if err := c.take(rest[:size]); err != nil {
			return err
		}
		rest = rest[size:]
	}
	c.filled = copy(c.input, rest)
	return nil
}

// take handles one whole frame.  DATA is not copied through the framer: long lists are nothing else.
func (c *connection) take(whole []byte) error {
	flags := http2.Flags(whole[4])
	if http2.FrameType(whole[3]) == http2.FrameData && !flags.Has(http2.FlagDataPadded) {
		id := binary.BigEndian.Uint32(whole[5:]) &^ (1 << 31)
		return c.data(id, whole[frameHeadBytes:], flags.Has(http2.FlagDataEndStream))
	}
	c.frame.rest = whole
	parsed, err := c.framer.ReadFrame()
	if err != nil {
		return err
	}
	return c.handle(parsed)
}

// flush sends what was written, or as much as the socket takes.
func (c *connection) flush() {
	if c.blocked || c.output.Len() == 0 {
		return
	}
	count, err := write(c.fd, c.output.Bytes())
	if err != nil {
		c.failed(err)
		return
	}
	c.output.Next(count)
	if c.output.Len() > 0 {
		c.blocked = true
		c.loop.wantWrite(c.fd, true)
	}
}

func (c *connection) handle(frame http2.Frame) error {
	switch frame := frame.(type) {
	case *http2.HeadersFrame:
		return c.fields(frame.StreamID, frame.HeaderBlockFragment(), frame.HeadersEnded(), frame.StreamEnded())
	case *http2.WindowUpdateFrame:
		if frame.StreamID == 0 {
			c.sendWindow += int64(frame.Increment)
		} else if call := c.calls[frame.StreamID]; call != nil {
			call.window += int64(frame.Increment)
		}
		c.pump()
	case *http2.SettingsFrame:
		return c.settings(frame)
	case *http2.PingFrame:
		if !frame.IsAck() {
			return c.framer.WritePing(true, frame.Data)
		}
	case *http2.RSTStreamFrame:
		if call := c.calls[frame.StreamID]; call != nil {
			c.end(call, fmt.Errorf("the server reset the stream: %v", frame.ErrCode))
		}
	case *http2.GoAwayFrame:
		return fmt.Errorf("the server said GOAWAY: %v %s", frame.ErrCode, frame.DebugData())
	case *http2.DataFrame, *http2.ContinuationFrame, *http2.PushPromiseFrame:
		return fmt.Errorf("unexpected %v", frame.Header())
	}
	return nil
}

func (c *connection) data(id uint32, data []byte, last bool) error {
	size := len(data)
	c.unacked += size
	if c.unacked > connectionWindow/2 {
		c.framer.WriteWindowUpdate(0, uint32(c.unacked))
		c.unacked = 0
	}
	call := c.calls[id]
	if call == nil {
		return fmt.Errorf("DATA on stream %d, which is closed", id)
	}
	call.unacked += size
	if call.unacked > streamWindow/2 {
		c.framer.WriteWindowUpdate(call.id, uint32(call.unacked))
		call.unacked = 0
	}
	c.messages(call, data)
	if last {
		c.end(call, fmt.Errorf("the stream ended without a status"))
	}
	return nil
}

// messages hands over the whole messages in data and keeps the rest for the next frame.
func (c *connection) messages(call *call, data []byte) {
	if len(call.incoming) > 0 {
		call.incoming = append(call.incoming, data...)
		if size := messageBytes(call.incoming); len(call.incoming) < size {
			return // a long message: don't move it with each frame
		}
		data = call.incoming
	}
	for len(data) >= messageHeadBytes {
		size := messageBytes(data)
		if len(data) < size {
			break
		}
		call.receiver.message(call, data[messageHeadBytes:size])
		data = data[size:]
	}
	call.incoming = append(call.incoming[:0], data...)
}

// messageBytes is how long the message that data begins with is, with its head; that of a head alone if even
// that is not complete.
func messageBytes(data []byte) int {
	if len(data) < messageHeadBytes {
		return messageHeadBytes
	}
	return messageHeadBytes + int(binary.BigEndian.Uint32(data[1:]))
}

func (c *connection) fields(id uint32, block []byte, endHeaders, endStream bool) error {
	if !endHeaders {
		return fmt.Errorf("a header block in several frames: more than a benchmark's answers need")
	}
	c.current = c.calls[id]
	if _, err := c.decoder.Write(block); err != nil {
		return err
	}
	if err := c.decoder.Close(); err != nil {
		return err
	}
	if c.current == nil || !endStream {
		return nil
	}
	call := c.current
	if call.status != "0" {
		c.end(call, fmt.Errorf("grpc-status %q: %s", call.status, call.reason))
		return nil
	}
	c.end(call, nil)
	return nil
}

// field is the decoder's: one header field of an answer.
func (c *connection) field(field hpack.HeaderField) {
	if c.current == nil {
		return
	}
	switch field.Name {
	case "grpc-status":
		c.current.status = field.Value
	case "grpc-message":
		c.current.reason = field.Value
	case ":status":
		if field.Value != "200" {
			c.current.reason = "HTTP status " + field.Value
		}
	}
}

func (c *connection) end(call *call, err error) {
	delete(c.calls, call.id)
	call.receiver.closed(call, err)
	c.free = append(c.free, call)
}

func (c *connection) settings(frame *http2.SettingsFrame) error {
	if frame.IsAck() {
		return nil
	}
	err := frame.ForeachSetting(func(setting http2.Setting) error {
		switch setting.ID {
		case http2.SettingInitialWindowSize:
			for _, call := range c.calls {
				call.window += int64(setting.Val) - c.peerWindow
			}
			c.peerWindow = int64(setting.Val)
		case http2.SettingMaxFrameSize:
			c.peerFrame = int(setting.Val)
		case http2.SettingHeaderTableSize:
			c.encoder.SetMaxDynamicTableSizeLimit(setting.Val)
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.pump()
	return c.framer.WriteSettingsAck()
}
