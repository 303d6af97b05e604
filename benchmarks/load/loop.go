package main

// The event loop: one thread, all connections, no goroutine but the main one.
//
// Go's own network poller wakes and parks a goroutine for each answer, and its monitor thread wakes up
// whenever a system call lasts longer than 20 µs.  With one call under way that costs more than all the rest,
// hence epoll by hand, through raw system calls that the monitor doesn't look at.

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"
)

const (
	maxEvents = 256
	longWait  = 100 * time.Millisecond // now and then, see whether it's time to give up
)

type eventLoop struct {
	epoll    int
	handlers map[int32]func(events uint32)
	events   [maxEvents]syscall.EpollEvent
	tick     func() // runs every interval, if there is one
	interval int64
	nextTick int64
	deadline int64
}

func newEventLoop(timeout time.Duration) *eventLoop {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		fail(err)
	}
	return &eventLoop{
		epoll: epoll, handlers: map[int32]func(uint32){}, deadline: now() + int64(timeout),
	}
}

// add calls handler whenever the file descriptor can be read.
func (l *eventLoop) add(fd int, handler func(events uint32)) error {
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}
	if err := syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_ADD, fd, &event); err != nil {
		return err
	}
	l.handlers[int32(fd)] = handler
	return nil
}

// wantWrite says whether the handler of a file descriptor is called for writing as well.
func (l *eventLoop) wantWrite(fd int, wanted bool) {
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}
	if wanted {
		event.Events |= syscall.EPOLLOUT
	}
	if err := syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_MOD, fd, &event); err != nil {
		fail(err)
	}
}

func (l *eventLoop) remove(fd int) {
	delete(l.handlers, int32(fd))
	syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_DEL, fd, nil)
}

// every runs f at an interval; one f at a time, nil for none.
func (l *eventLoop) every(interval time.Duration, f func()) {
	l.tick, l.interval, l.nextTick = f, int64(interval), now()
}

// until turns the loop until something holds, and ends the process if that takes too long.
func (l *eventLoop) until(holds func() bool) {
	for !holds() {
		l.turn()
	}
}

// sleep turns the loop for a time.
func (l *eventLoop) sleep(duration time.Duration) {
	end := now() + int64(duration)
	l.until(func() bool { return now() >= end })
}

func (l *eventLoop) turn() {
	wait := longWait.Milliseconds()
	if l.tick != nil {
		wait = min(wait, max(0, (l.nextTick-now()+999_999)/1_000_000))
	}
	count, _, number := syscall.RawSyscall6(
		syscall.SYS_EPOLL_PWAIT, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.events[0])), maxEvents, uintptr(wait), 0, 0,
	)
	if number != 0 {
		if number != syscall.EINTR {
			fail(fmt.Errorf("epoll: %w", number))
		}
		count = 0
	}
	for _, event := range l.events[:count] {
		if handler := l.handlers[event.Fd]; handler != nil {
			handler(event.Events)
		}
	}
	at := now()
	if l.tick != nil && at >= l.nextTick {
		// One call for a missed tick is enough: the server is asked again at once, and nothing piles up here.
		l.nextTick = max(l.nextTick+l.interval, at)
		l.tick()
	}
	if at > l.deadline {
		fail(errors.New("not done in time"))
	}
}

// waitForEnd turns the loop until standard input has ended.
func (l *eventLoop) waitForEnd() {
	ended := false
	var room [256]byte
	err := l.add(int(os.Stdin.Fd()), func(uint32) {
		count, err := os.Stdin.Read(room[:])
		ended = count == 0 || err != nil
	})
	if err != nil {
		return // a file: it has no more to say than that
	}
	l.until(func() bool { return ended })
}

// read and write are one system call each, for sockets that don't block.

func read(fd int, into []byte) (int, error) {
	return rawResult(syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&into[0])), uintptr(len(into))))
}

func write(fd int, data []byte) (int, error) {
	return rawResult(syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&data[0])), uintptr(len(data))))
}

func rawResult(count, _ uintptr, number syscall.Errno) (int, error) {
	if number == syscall.EAGAIN || number == syscall.EINTR {
		return 0, nil
	}
	if number != 0 {
		return 0, number
	}
	if count == 0 {
		return 0, errors.New("the server has closed the connection")
	}
	return int(count), nil
}
