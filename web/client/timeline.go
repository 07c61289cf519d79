package client

import (
	"context"
	"slices"
	"strings"

	"kith/mimi/content"
)

// maxPage limits a page of a timeline; maxPreview what the room list shows of a message.
const (
	maxPage    = 200
	maxPreview = 200
)

// addRow puts a new row into the timeline and into the room's record.
func (e *engine) addRow(b *batch, r *room, m *message) {
	b.put(r.rowKey(keyMessage, m.key), m.bytes())
	if m.notice == "" {
		b.put(r.rowKey(keyMID, m.id), []byte(m.key))
	}
	if m.state == MessageReceived && m.notice == "" {
		r.rec.unread++
	}
	if m.notice == "" && m.key >= r.rec.lastKey {
		r.rec.lastKey, r.rec.lastText, r.rec.lastSender, r.rec.lastTime = m.key, preview(m.text()), m.sender, m.time
	}
	r.rec.waiting = false
	e.saveRecord(b, r)
	e.tell(b, r, m)
}

// moveRow replaces a row at its place, or puts it to a new one.
func (e *engine) moveRow(b *batch, r *room, m *message, key string) {
	if key != m.key {
		b.del(r.rowKey(keyMessage, m.key))
		if r.rec.lastKey == m.key {
			r.rec.lastKey = key
		}
		m.key = key
	}
	b.put(r.rowKey(keyMessage, m.key), m.bytes())
	b.put(r.rowKey(keyMID, m.id), []byte(m.key))
	if r.rec.lastKey == m.key {
		r.rec.lastTime = m.time
	}
	e.saveRecord(b, r)
	e.tell(b, r, m)
}

// tell shows one message to the pages once it is stored.
func (e *engine) tell(b *batch, r *room, m *message) {
	b.then = append(b.then, func() {
		if !e.hides(r) {
			e.cfg.Post(View{ViewMessage, MessageChange{r.id.String(), e.messageView(r, m)}})
		}
	})
}

// row reads a message by its id; nil if it is unknown.
func (e *engine) row(r *room, id string) (*message, error) {
	ctx := context.WithoutCancel(e.ctx)
	key, err := e.store.Get(ctx, r.rowKey(keyMID, id))
	if err != nil || key == nil {
		return nil, err
	}
	data, err := e.store.Get(ctx, r.rowKey(keyMessage, string(key)))
	if err != nil || data == nil {
		return nil, err
	}
	return parseMessage(string(key), data)
}

// text is what a message says.
func (m *message) text() string {
	if len(m.content) == 0 {
		return ""
	}
	c, err := content.Parse(m.content)
	if err != nil {
		return ""
	}
	return c.Text()
}

// preview cuts a text for the room list, between characters.
func preview(text string) string {
	n := 0
	for i := range text {
		if n++; n > maxPreview {
			return text[:i]
		}
	}
	return text
}

func (e *engine) messageView(r *room, m *message) MessageView {
	v := MessageView{
		ID: m.id, Key: m.key, Room: r.id.String(), Mine: m.sender == e.user.String(), State: m.state,
		Sender: m.sender, SenderName: e.nameOf(m.sender), Text: m.text(), Time: m.time, Kind: "message",
		Plain: r.rec.plain,
	}
	v.Reportable = !v.Mine && len(m.frank) > 0
	if m.notice != "" {
		v.Kind = "notice"
		v.Notice = &NoticeView{Code: m.notice, Who: v.SenderName, Whom: e.nameOf(m.whom), Me: m.whom == e.user.String(), Name: m.name}
	}
	if m.errCode != "" {
		v.Error = fail(m.errCode, m.errCode)
	}
	return v
}

// timeline reads a page that ends before a key.
func (e *engine) timeline(ctx context.Context, id, before string, limit int) (TimelineView, error) {
	var page TimelineView
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	err := e.do(ctx, func() error {
		r, err := e.find(id)
		if err != nil {
			return err
		}
		prefix := r.rowKey(keyMessage, "")
		list, err := e.store.Range(ctx, prefix, "", before, limit+1, true)
		if err != nil {
			return err
		}
		page.More = len(list) > limit
		if page.More {
			list = list[:limit]
		}
		slices.Reverse(list)
		for _, kv := range list {
			m, err := parseMessage(strings.TrimPrefix(kv.Key, prefix), kv.Value)
			if err != nil {
				return err
			}
			page.Messages = append(page.Messages, e.messageView(r, m))
		}
		return nil
	})
	return page, err
}

// markRead moves the read marker forward and counts what is behind it.
func (e *engine) markRead(ctx context.Context, id, key string) error {
	return e.do(ctx, func() error {
		r, err := e.find(id)
		if err != nil || key <= r.rec.readKey {
			return err
		}
		prefix := r.rowKey(keyMessage, "")
		list, err := e.store.Range(ctx, prefix, r.rec.readKey, "", 0, false)
		if err != nil {
			return err
		}
		unread := 0
		b := new(batch)
		for _, kv := range list {
			k := strings.TrimPrefix(kv.Key, prefix)
			m, err := parseMessage(k, kv.Value)
			if err != nil {
				return err
			}
			switch {
			case m.state != MessageReceived || m.notice != "":
			case k > key:
				unread++
			case m.afterRead != vanishNever:
				e.readNow(b, r, m)
			}
		}
		r.rec.readKey, r.rec.unread = key, unread
		e.saveRecord(b, r)
		return e.commit(b)
	})
}
