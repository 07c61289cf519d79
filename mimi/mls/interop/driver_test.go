//go:build !js

package interop

import (
	"errors"
	"strings"
	"testing"
)

// liar is a peer of ours that changes one answer: what the driver must notice.
type liar struct {
	ours
	change func(op string, r *reply, err error) error
}

func (l *liar) do(r request) (reply, error) {
	out, err := l.ours.do(r)
	err = l.change(r.Op, &out, err)
	return out, err
}

// TestLiesAreNoticed runs a flow with a member whose library would be wrong in one point.
func TestLiesAreNoticed(t *testing.T) {
	for name, c := range map[string]struct {
		flow   func(w *world, x, y *implementation) error
		change func(op string, r *reply)
		want   string
	}{
		"nothing":       {welcomeBeside, func(string, *reply) {}, ""},
		"epoch":         {welcomeBeside, onState(func(r *reply) { r.Epoch++ }), "epoch"},
		"authenticator": {welcomeBeside, onState(func(r *reply) { r.Authenticator[0] ^= 1 }), "authenticator"},
		"exporter":      {welcomeBeside, onState(func(r *reply) { r.Exporter[0] ^= 1 }), "exports"},
		"tree hash":     {welcomeBeside, onState(func(r *reply) { r.TreeHash = []byte("no") }), "tree hash"},
		"members":       {welcomeBeside, onState(func(r *reply) { r.Members = r.Members[:1] }), "lists"},
		"own leaf":      {welcomeBeside, onState(func(r *reply) { r.Leaf = 0 }), "the members say"},
		"text":          {applicationMessages, on("process", func(r *reply) { r.Data = append(r.Data, '!') }), "read"},
		"data":          {applicationMessages, on("process", func(r *reply) { r.AAD = append(r.AAD, '!') }), "authenticated data"},
		"sender":        {applicationMessages, on("process", senderOne), "sender"},
		"kind":          {commitWithPath, on("process", func(r *reply) { r.Kind = "proposal" }), "took a commit"},
		"removal":       {beingRemoved, on("process", func(r *reply) { r.Removed = false }), "members instead of"},
	} {
		t.Run(name, func(t *testing.T) {
			us := ourselves(t)
			liars := &implementation{name: "liar", inProcess: true, suites: us.suites, ops: us.ops}
			idle := &pool{idle: map[*implementation][]peer{liars: {&liar{change: func(op string, r *reply, err error) error {
				if err == nil {
					c.change(op, r)
				}
				return err
			}}}}}
			err := c.flow(&world{suite: 1, idle: idle}, us, liars)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("the flow ended with %v, want %q", err, c.want)
			}
		})
	}
}

func on(op string, change func(r *reply)) func(string, *reply) {
	return func(got string, r *reply) {
		if got == op {
			change(r)
		}
	}
}

func onState(change func(r *reply)) func(string, *reply) { return on("state", change) }

func senderOne(r *reply) {
	one := uint32(1)
	r.Sender = &one
}

// TestReplaysMustBeRefused checks that a library that reads a message twice is noticed.
func TestReplaysMustBeRefused(t *testing.T) {
	us := ourselves(t)
	liars := &implementation{name: "liar", inProcess: true, suites: us.suites, ops: us.ops}
	idle := &pool{idle: map[*implementation][]peer{liars: {&liar{change: func(op string, _ *reply, err error) error {
		if op == "process" {
			return nil
		}
		return err
	}}}}}
	err := applicationMessages(&world{suite: 1, idle: idle}, us, liars)
	if err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("the flow ended with %v", err)
	}
}

func TestParseAnswer(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{`{"ok":{"epoch":3}}`, ""},
		{`{"error":"bad"}`, "bad"},
		{`{"error":"unsupported: X448"}`, "unsupported: X448"},
		{`{"ok":{},"error":"both"}`, "both"},
		{`{}`, "neither"},
		{`no`, "not of the protocol"},
	} {
		_, err := parseAnswer([]byte(c.line))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("parseAnswer(%s): %v", c.line, err)
		}
		var unsupported unsupportedError
		if errors.As(err, &unsupported) != strings.Contains(c.line, "unsupported") {
			t.Errorf("parseAnswer(%s) is not told apart: %v", c.line, err)
		}
	}
}
