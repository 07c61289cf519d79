package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"kith/mimi"
	"kith/server/servertest"
	"kith/web/api"
)

// client is a device with its connection. Setting up is synchronous; a load reads with a goroutine of its own.
type client struct {
	*servertest.Device
	c *servertest.Conn

	buffer  []byte
	cursor  uint64
	events  atomic.Int64
	order   uint64 // rolling hash of the cursors seen, equal for all devices of a room
	answers chan struct{}
	failed  atomic.Int64
	onEvent func(cursor uint64, message []byte)
}

var httpClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// connect makes a new device of an account, on a connection of its own.
func connect(ctx context.Context, url string, a servertest.Account, packages int) (*client, error) {
	c, err := servertest.Dial(ctx, httpClient, url, a)
	if err != nil {
		return nil, err
	}
	d, err := servertest.Register(ctx, c, a, time.Now)
	if err != nil {
		return nil, err
	}
	if _, err := d.Hello(ctx, c); err != nil {
		return nil, err
	}
	if packages > 0 {
		if err := d.Publish(ctx, c, packages); err != nil {
			return nil, err
		}
	}
	return &client{Device: d, c: c}, nil
}

// reconnect opens the connections of a load that has ended anew.
func reconnect(ctx context.Context, clients []*client, url func(*client) string) error {
	for _, c := range clients {
		var err error
		if c.c, err = servertest.Dial(ctx, httpClient, url(c), c.Account); err != nil {
			return err
		}
		c.Device.Cursor = c.cursor
		if _, err := c.Hello(ctx, c.c); err != nil {
			return err
		}
	}
	return nil
}

// connectAll connects one device of each account, a few at a time.
func connectAll(ctx context.Context, url string, accounts []servertest.Account, packages int) ([]*client, error) {
	clients := make([]*client, len(accounts))
	errs := make([]error, len(accounts))
	var wg sync.WaitGroup
	slots := make(chan struct{}, 8)
	for i, a := range accounts {
		slots <- struct{}{}
		wg.Go(func() {
			clients[i], errs[i] = connect(ctx, url, a, packages)
			<-slots
		})
	}
	wg.Wait()
	return clients, errors.Join(errs...)
}

func closeAll(clients []*client) {
	for _, c := range clients {
		c.c.Close()
	}
}

// listen counts what comes until the connection ends or ctx does.
func (c *client) listen(ctx context.Context) error {
	for {
		_, r, err := c.c.WS.Reader(ctx)
		if err != nil {
			return err
		}
		if err := c.readInto(r); err != nil {
			return err
		}
		if err := c.take(c.buffer); err != nil {
			return err
		}
	}
}

// readInto reads one message into a buffer that is used again.
func (c *client) readInto(r io.Reader) error {
	c.buffer = c.buffer[:0]
	for {
		if len(c.buffer) == cap(c.buffer) {
			c.buffer = append(c.buffer, 0)[:len(c.buffer)]
		}
		n, err := r.Read(c.buffer[len(c.buffer):cap(c.buffer)])
		c.buffer = c.buffer[:len(c.buffer)+n]
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// take counts the frames of one message. It looks at as little of them as it can: the driver shares the machine.
func (c *client) take(data []byte) error {
	for len(data) >= 5 {
		n := binary.BigEndian.Uint32(data)
		if uint64(n) > uint64(len(data)-4) {
			return api.ErrTruncated
		}
		frame := data[4 : 4+n]
		data = data[4+n:]
		switch api.Kind(frame[0]) {
		case api.KindEvent:
			cursor := binary.BigEndian.Uint64(frame[1:])
			if cursor <= c.cursor {
				return fmt.Errorf("event %d after %d", cursor, c.cursor)
			}
			c.cursor = cursor
			c.order = (c.order ^ cursor) * 0x100000001b3
			if c.onEvent != nil {
				c.onEvent(cursor, frame[11+binary.BigEndian.Uint16(frame[9:]):])
			}
			c.events.Add(1)
		case api.KindResponse:
			if binary.BigEndian.Uint16(frame[5:]) != api.StatusOK || len(frame) < 9 || frame[8] != 0 { // accepted(0)
				c.failed.Add(1)
			}
			if c.answers != nil {
				c.answers <- struct{}{}
			}
		}
	}
	return nil
}

// submits makes the frames of n encrypted messages.
func (c *client) submits(id mimi.RoomID, n int, text string) ([][]byte, error) {
	frames := make([][]byte, n)
	for i := range frames {
		body, err := c.Encrypt(id, text)
		if err != nil {
			return nil, err
		}
		frames[i], err = api.Bytes(&api.Request{ID: uint32(i), Op: api.OpSubmitMessage, Target: id.String(), Body: body})
		if err != nil {
			return nil, err
		}
	}
	clear(c.Waiting)
	return frames, nil
}

// send submits frames with at most window unanswered, until all are answered or until ctx ends. It returns how many
// were sent.
func (c *client) send(ctx context.Context, frames [][]byte, window int) (sent int, err error) {
	open := 0
	for sent < len(frames) && ctx.Err() == nil {
		if open == window {
			<-c.answers
			open--
		}
		for drained := false; !drained && open > 0; {
			select {
			case <-c.answers:
				open--
			default:
				drained = true
			}
		}
		// What the window allows goes out as one websocket message, as a browser's engine would do it.
		var message []byte
		for open < window && sent < len(frames) && len(message) < 32<<10 {
			message = append(message, frames[sent]...)
			sent, open = sent+1, open+1
		}
		if err := c.c.WS.Write(context.Background(), websocket.MessageBinary, message); err != nil {
			return sent, err
		}
	}
	for ; open > 0; open-- {
		<-c.answers
	}
	return sent, nil
}
