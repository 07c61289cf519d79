package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kith/mimi/content"
	"kith/mimi/mls"
	rooms "kith/mimi/room"
	"kith/mimi/wire"
	"kith/web/api"
)

// MaxText is the longest text of one message, in octets of UTF-8.
const MaxText = 64 << 10

// send puts a text into the timeline and the outbox; the outbox does the rest, now or when there is a connection.
func (e *engine) send(ctx context.Context, id, text string) (MessageView, error) {
	var view MessageView
	if strings.TrimSpace(text) == "" {
		return view, fail(CodeEmpty, "empty message")
	}
	if len(text) > MaxText {
		return view, fail(CodeTooLong, fmt.Sprintf("message longer than %d octets", MaxText))
	}
	err := e.do(ctx, func() error {
		r, err := e.find(id)
		if err != nil {
			return err
		}
		if r.rec.removed || !r.rec.canSend {
			return fail(CodeNotAllowed, "not allowed to send here")
		}
		text := strings.ToValidUTF8(text, "\uFFFD")
		if err := e.maySay(r, text); err != nil {
			return err
		}
		m, err := e.compose(r, text)
		if err != nil {
			return err
		}
		view = e.messageView(r, m)
		e.startOutbox(r)
		e.renewIn(r)
		return nil
	})
	return view, err
}

// compose makes a message of a text, to vanish after the time that the room has for that.
//
// draft-ietf-mimi-room-policy-03, Section 6.8
func (e *engine) compose(r *room, text string) (*message, error) {
	c, err := content.NewText(e.cfg.Rand, e.user, r.id, text)
	if err != nil {
		return nil, err
	}
	if r.rec.expire > 0 {
		c.Expires = &content.Expiration{Time: uint32(e.nowMS()/1000 + r.rec.expire)}
	}
	return e.put(r, c)
}

// put stores a new message as sending, encrypted at once if nothing stands in the way.
func (e *engine) put(r *room, c *content.Message) (*message, error) {
	raw, err := c.Bytes()
	if err != nil {
		return nil, err
	}
	e.seq++
	m := &message{
		id: content.ID(e.user, r.id, raw).String(), key: provisionalKey(e.seq), state: MessageSending,
		sender: e.user.String(), time: e.now().UnixMilli(), content: raw,
	}
	o := &outgoing{seq: e.seq, id: m.id, content: raw}
	b := new(batch)
	if !slices.ContainsFunc(r.out, func(o *outgoing) bool { return o.request == nil }) && r.change == nil && r.usable() {
		if err := e.encrypt(b, r, o); err != nil {
			return nil, err
		}
	}
	r.out = append(r.out, o)
	b.put(r.outKey(o), o.bytes())
	m.vanish, _ = c.Expires.DeleteAt(uint64(m.time))
	e.vanishes(b, r, m)
	e.addRow(b, r, m)
	return m, e.commit(b)
}

func (r *room) outKey(o *outgoing) string { return r.rowKey(keyOutbox, fmt.Sprintf("%016x", o.seq)) }

// encrypt makes the request of a message upon the present epoch. The key it used is gone from the ratchet that is
// stored in the same commit, so it can never be used again.
func (e *engine) encrypt(b *batch, r *room, o *outgoing) error {
	g, err := e.groupOf(r)
	if err != nil {
		return err
	}
	if g == nil {
		return nil // not in the room yet
	}
	data, err := rooms.FrameContentIn(g.Context(), o.content)
	if err != nil {
		return err
	}
	aad, err := commitment(g, o.content, data)
	if err != nil {
		return err
	}
	m, err := g.Encrypt(aad, data)
	if errors.Is(err, mls.ErrPendingProposals) {
		return nil // after the commit of what others have proposed (SM-6)
	}
	if err != nil {
		return err
	}
	raw, err := wire.NewMLSMessage(m)
	if err != nil {
		return err
	}
	req := &wire.SubmitMessageRequest{Protocol: wire.ProtocolMLS10, AppMessage: raw, SendingURI: e.user}
	if o.request, err = req.Bytes(); err != nil {
		return err
	}
	o.hash = hashOf(raw.Raw)
	r.echo[o.hash] = o.id
	b.put(r.rowKey(keyEcho, o.hash), []byte(o.id))
	r.saveRatchets(b)
	return nil
}

// startOutbox lets the room's messages go out, one after the other.
func (e *engine) startOutbox(r *room) {
	if r.sending || len(r.out) == 0 {
		return
	}
	r.sending = true
	e.spawn(func(ctx context.Context) { e.runOutbox(ctx, r) })
}

// runOutbox sends until there is nothing to send, or nothing can be encrypted; whatever ends that starts it again.
func (e *engine) runOutbox(ctx context.Context, r *room) {
	for failures := 0; ; {
		o, l, sent, err := e.takeOutgoing(ctx, r)
		if err != nil || o == nil {
			return
		}
		body, err := e.callHub(ctx, l, api.OpSubmitMessage, r, sent.request)
		if e.isKept(r, err) {
			e.awaitHub(ctx, r)
			continue
		}
		var status *statusError
		if errors.As(err, &status) && status.temporary() && failures < 5 {
			failures++
			sleep(ctx, backoff(failures))
			continue
		}
		failures = 0
		var epoch uint64
		err = e.do(ctx, func() (err2 error) {
			epoch, err2 = e.onSubmitted(r, o, sent.hash, body, err)
			return err2
		})
		if err != nil {
			return // the engine has ended
		}
		if epoch > 0 {
			e.drained(ctx, l, r, epoch)
		}
	}
}

// takeOutgoing waits for the connection and for the next message to send; nil if there is none.
// sent is a copy made on the loop, for the flow.
func (e *engine) takeOutgoing(ctx context.Context, r *room) (o *outgoing, l *link, sent outgoing, err error) {
	err = e.wait(ctx, e.ready)
	if err != nil {
		return nil, nil, sent, err
	}
	err = e.do(ctx, func() (err error) {
		o, err = e.nextOutgoing(r)
		r.sending = o != nil
		l = e.link
		if o != nil {
			sent = *o
		}
		return err
	})
	if err == nil && o != nil && l == nil {
		return e.takeOutgoing(ctx, r)
	}
	return o, l, sent, err
}

// ready reports whether there is a connection and its backlog has been processed.
func (e *engine) ready() bool { return e.link != nil && e.caughtUp }

// drained waits until the room has reached an epoch the hub spoke of, or something else comes between.
func (e *engine) drained(ctx context.Context, l *link, r *room, epoch uint64) {
	_ = e.wait(ctx, func() bool {
		return r.group != nil && r.group.Epoch() >= epoch || e.link != l || !r.usable()
	})
}

// nextOutgoing is the first message that waits for the hub, encrypted; nil if there is none or it cannot be now.
func (e *engine) nextOutgoing(r *room) (*outgoing, error) {
	i := slices.IndexFunc(r.out, func(o *outgoing) bool { return !o.failed })
	if i < 0 || r.blocked {
		return nil, nil
	}
	o := r.out[i]
	if len(o.request) > 0 {
		return o, nil
	}
	if r.change != nil && len(r.change.request) > 0 || !r.usable() {
		return nil, nil // soon: both end with startOutbox
	}
	b := new(batch)
	if err := e.encrypt(b, r, o); err != nil {
		return nil, err
	}
	if len(o.request) == 0 {
		return nil, e.commitPending(r)
	}
	b.put(r.outKey(o), o.bytes())
	return o, e.commit(b)
}

// onSubmitted handles the hub's answer. It returns the epoch to wait for if the message must be encrypted anew.
func (e *engine) onSubmitted(r *room, o *outgoing, hash string, body []byte, err error) (epoch uint64, _ error) {
	e.answered(r, err)
	if !slices.Contains(r.out, o) || o.hash != hash {
		return 0, nil // its echo was faster
	}
	if err != nil {
		var refusal *statusError
		var own *Error
		if errors.As(err, &refusal) || errors.As(err, &own) {
			return 0, e.failOutgoing(r, o, describe(err).Code)
		}
		return 0, nil // no answer: the same octets go out again on the next connection
	}
	resp, err := wire.UnmarshalSubmitMessageResponse(body)
	if err != nil {
		return 0, e.failOutgoing(r, o, CodeInternal)
	}
	switch resp.StatusCode {
	case wire.SubmitAccepted:
		b := new(batch)
		if err := e.confirm(b, r, o.id, resp.AcceptedTimestamp); err != nil {
			return 0, err
		}
		return 0, e.commit(b)
	case wire.SubmitEpochTooOld:
		return resp.CurrentEpoch, e.unencrypt(r, o)
	}
	e.suspectClosed(r)
	return 0, e.failOutgoing(r, o, CodeNotAllowed)
}

// unencrypt takes back a ciphertext the hub has refused for its epoch. The content, and thereby the message id, stay.
func (e *engine) unencrypt(r *room, o *outgoing) error {
	b := new(batch)
	delete(r.echo, o.hash)
	b.del(r.rowKey(keyEcho, o.hash))
	o.request, o.hash = nil, ""
	b.put(r.outKey(o), o.bytes())
	return e.commit(b)
}

// confirm moves an own message to its place in the hub's order. Its echo is still awaited, to be recognised.
func (e *engine) confirm(b *batch, r *room, id string, timestamp uint64) error {
	for i, o := range r.out {
		if o.id == id {
			r.out = slices.Delete(r.out, i, i+1)
			b.del(r.outKey(o))
			break
		}
	}
	m, err := e.row(r, id)
	if err != nil || m == nil || m.state == MessageSent {
		return err
	}
	m.state, m.errCode, m.time = MessageSent, "", int64(timestamp)
	e.moveRow(b, r, m, messageKey(timestamp, id))
	return nil
}

// onEcho recognises an own message in the stream.
func (e *engine) onEcho(b *batch, r *room, f *wire.FanoutMessage, hash, id string) string {
	delete(r.echo, hash)
	b.del(r.rowKey(keyEcho, hash))
	if err := e.confirm(b, r, id, f.Timestamp); err != nil {
		e.cancel(errors.Join(errStore, err))
	}
	return ""
}

// failOutgoing leaves the decision to the user.
func (e *engine) failOutgoing(r *room, o *outgoing, code string) error {
	b := new(batch)
	if err := e.markFailed(b, r, o, code); err != nil {
		return err
	}
	return e.commit(b)
}

func (e *engine) markFailed(b *batch, r *room, o *outgoing, code string) error {
	o.failed = true
	b.put(r.outKey(o), o.bytes())
	m, err := e.row(r, o.id)
	if err != nil || m == nil {
		return err
	}
	m.state, m.errCode = MessageFailed, code
	e.moveRow(b, r, m, m.key)
	return nil
}

// failAll fails everything unsent of a room the user is no longer in.
func (e *engine) failAll(b *batch, r *room) error {
	for _, o := range r.out {
		if err := e.markFailed(b, r, o, CodeNotAllowed); err != nil {
			return err
		}
	}
	return nil
}

// retry sends a failed message again, with the octets it had: the hub knows them if it has accepted them before all.
func (e *engine) retry(ctx context.Context, id, mid string) error {
	return e.do(ctx, func() error {
		r, o, m, err := e.failedMessage(id, mid)
		if err != nil {
			return err
		}
		b := new(batch)
		o.failed = false
		b.put(r.outKey(o), o.bytes())
		m.state, m.errCode = MessageSending, ""
		e.moveRow(b, r, m, m.key)
		if err := e.commit(b); err != nil {
			return err
		}
		e.startOutbox(r)
		return nil
	})
}

// discard deletes a failed message.
func (e *engine) discard(ctx context.Context, id, mid string) error {
	return e.do(ctx, func() error {
		r, o, m, err := e.failedMessage(id, mid)
		if err != nil {
			return err
		}
		b := new(batch)
		r.out = slices.DeleteFunc(r.out, func(x *outgoing) bool { return x == o })
		b.del(r.outKey(o))
		b.del(r.rowKey(keyMessage, m.key))
		b.del(r.rowKey(keyMID, m.id))
		if r.rec.lastKey == m.key {
			r.rec.lastText, r.rec.lastKey = "", ""
		}
		e.saveRecord(b, r)
		b.then = append(b.then, func() { e.cfg.Post(View{ViewTimeline, RoomRef{r.id.String()}}) })
		return e.commit(b)
	})
}

func (e *engine) failedMessage(id, mid string) (*room, *outgoing, *message, error) {
	r, err := e.find(id)
	if err != nil {
		return nil, nil, nil, err
	}
	i := slices.IndexFunc(r.out, func(o *outgoing) bool { return o.id == mid && o.failed })
	if i < 0 {
		return nil, nil, nil, fail(CodeNotFound, "no such failed message")
	}
	m, err := e.row(r, mid)
	if err == nil && m == nil {
		err = fail(CodeNotFound, "no such message")
	}
	return r, r.out[i], m, err
}

// retryPause spreads the attempts of devices that collided.
const retryPause = 200 * time.Millisecond
