package servertest

import (
	"context"
	"errors"
	"net/http"

	"github.com/coder/websocket"

	"kith/web/api"
)

// Conn is a websocket to a server. It is used by one goroutine at a time.
type Conn struct {
	WS       *websocket.Conn
	Greeting *api.Greeting
	Pending  []api.Frame // read and not yet given out by Next
	lastID   uint32
}

// Dial opens a websocket with the session of a and reads the greeting. url is the server's, http://…
func Dial(ctx context.Context, client *http.Client, url string, a Account) (*Conn, error) {
	ws, _, err := websocket.Dial(ctx, url+api.Path, &websocket.DialOptions{HTTPClient: client,
		HTTPHeader:      http.Header{"Cookie": {"kith_session=" + a.Token}},
		CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(-1)
	c := &Conn{WS: ws}
	f, err := c.Next(ctx)
	if err != nil {
		return nil, err
	}
	greeting, ok := f.(*api.Greeting)
	if !ok {
		return nil, errors.New("servertest: the first frame is no greeting")
	}
	c.Greeting = greeting
	return c, nil
}

// Close ends the connection at once.
func (c *Conn) Close() { c.WS.CloseNow() }

// Send writes frames in one websocket message.
func (c *Conn) Send(ctx context.Context, frames ...api.Frame) error {
	var message []byte
	for _, f := range frames {
		var err error
		if message, err = api.Append(message, f); err != nil {
			return err
		}
	}
	return c.WS.Write(ctx, websocket.MessageBinary, message)
}

// Read reads the frames of one websocket message.
func (c *Conn) Read(ctx context.Context) ([]api.Frame, error) {
	_, data, err := c.WS.Read(ctx)
	if err != nil {
		return nil, err
	}
	var frames []api.Frame
	for len(data) > 0 {
		var f api.Frame
		if f, data, err = api.Next(data); err != nil {
			return nil, err
		}
		frames = append(frames, f)
	}
	return frames, nil
}

// Next returns the next frame from the server.
func (c *Conn) Next(ctx context.Context) (api.Frame, error) {
	for len(c.Pending) == 0 {
		frames, err := c.Read(ctx)
		if err != nil {
			return nil, err
		}
		c.Pending = frames
	}
	f := c.Pending[0]
	c.Pending = c.Pending[1:]
	return f, nil
}

// NextEvent returns the next event, passing over everything else.
func (c *Conn) NextEvent(ctx context.Context) (*api.Event, error) {
	for {
		f, err := c.Next(ctx)
		if err != nil {
			return nil, err
		}
		if e, ok := f.(*api.Event); ok {
			return e, nil
		}
	}
}

// Request sends a request without waiting for its answer, and returns its id.
func (c *Conn) Request(ctx context.Context, op api.Op, target string, body []byte) (uint32, error) {
	c.lastID++
	return c.lastID, c.Send(ctx, &api.Request{ID: c.lastID, Op: op, Target: target, Body: body})
}

// Await reads until the answer to a request comes; other frames are kept for Next.
func (c *Conn) Await(ctx context.Context, id uint32) ([]byte, error) {
	for i := 0; ; i++ {
		if i == len(c.Pending) {
			frames, err := c.Read(ctx)
			if err != nil {
				return nil, err
			}
			c.Pending = append(c.Pending, frames...)
		}
		r, ok := c.Pending[i].(*api.Response)
		if !ok || r.ID != id {
			continue
		}
		c.Pending = append(c.Pending[:i:i], c.Pending[i+1:]...)
		if r.Status != api.StatusOK {
			return nil, &StatusError{r.Status, string(r.Body)}
		}
		return r.Body, nil
	}
}

// Call sends a request and returns the body of its answer, or a [StatusError].
func (c *Conn) Call(ctx context.Context, op api.Op, target string, body []byte) ([]byte, error) {
	id, err := c.Request(ctx, op, target, body)
	if err != nil {
		return nil, err
	}
	return c.Await(ctx, id)
}
