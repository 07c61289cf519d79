package foreign_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"kith/mimi"
	"kith/server/servertest"
	"kith/server/servertest/foreign"
)

// What is here reads the octets that our providers send as the drafts' structs say, without any of our own decoders.

// octets is a body that is read from its front. Whatever is not as it should be ends the test.
type octets struct {
	t    *testing.T
	what string
	all  []byte
	left []byte
}

func body(t *testing.T, what string, b []byte) *octets { return &octets{t, what, b, b} }

func (o *octets) take(n int, field string) []byte {
	o.t.Helper()
	if n > len(o.left) {
		o.t.Fatalf("%s: %s ends at %d of %d octets", o.what, field, len(o.all), len(o.all)+n-len(o.left))
	}
	b := o.left[:n]
	o.left = o.left[n:]
	return b
}

func (o *octets) number(n int, field string, want ...uint64) (v uint64) {
	o.t.Helper()
	for _, c := range o.take(n, field) {
		v = v<<8 | uint64(c)
	}
	for _, w := range want {
		if v != w {
			o.t.Errorf("%s: %s is %d, not %d", o.what, field, v, w)
		}
	}
	return v
}

// vector reads opaque x<V>: RFC 9420, Section 2.1.2.
func (o *octets) vector(field string) []byte {
	o.t.Helper()
	first := o.number(1, field)
	n, more := first&0x3f, 1<<(first>>6)-1
	if more > 3 {
		o.t.Fatalf("%s: length of %s begins with 11", o.what, field)
	}
	for range more {
		n = n<<8 | o.number(1, field)
	}
	if more > 0 && n < 1<<(8*((more+1)/2)-2) {
		o.t.Errorf("%s: length of %s is not minimal", o.what, field)
	}
	return o.take(int(n), field)
}

func (o *octets) text(field, want string) {
	o.t.Helper()
	if got := o.vector(field); string(got) != want {
		o.t.Errorf("%s: %s is %q, not %q", o.what, field, got, want)
	}
}

func (o *octets) sized(field string, n int) []byte {
	o.t.Helper()
	b := o.vector(field)
	if len(b) != n {
		o.t.Errorf("%s: %s has %d octets, not %d", o.what, field, len(b), n)
	}
	return b
}

func (o *octets) vectors(fields ...string) {
	o.t.Helper()
	for _, f := range fields {
		o.vector(f)
	}
}

func (o *octets) optional(field string) bool { return o.number(1, field) == 1 }

func (o *octets) end() {
	o.t.Helper()
	if len(o.left) > 0 {
		o.t.Errorf("%s: %d octets too many", o.what, len(o.left))
	}
}

// each reads the elements of a list<V>.
func (o *octets) each(field string, element func(*octets)) (n int) {
	o.t.Helper()
	for list := body(o.t, o.what+": "+field, o.vector(field)); len(list.left) > 0; n++ {
		element(list)
	}
	return n
}

// credential: u16 type, x509 chain of one.
func (o *octets) credential() {
	o.t.Helper()
	o.number(2, "credential type", 2)
	if n := o.each("certificates", func(c *octets) { c.vector("certificate") }); n != 1 {
		o.t.Errorf("%s: %d certificates", o.what, n)
	}
}

// extensions: {u16 type; opaque data<V>}<V>.
func (o *octets) extensions(field string) {
	o.t.Helper()
	o.each(field, func(e *octets) { e.number(2, "type"); e.vector("data") })
}

// leaf: RFC 9420, Section 7.2.
func (o *octets) leaf() {
	o.t.Helper()
	o.sized("encryption_key", 32)
	o.sized("signature_key", 32)
	o.credential()
	o.vectors("versions", "cipher_suites", "extensions", "proposals", "credentials")
	switch source := o.number(1, "leaf_node_source"); source {
	case 1:
		o.take(16, "lifetime")
	case 3:
		o.vector("parent_hash")
	}
	o.extensions("leaf extensions")
	o.sized("leaf signature", 64)
}

func (o *octets) keyPackage() {
	o.t.Helper()
	o.number(2, "version", 1)
	o.number(2, "cipher_suite", 1)
	o.sized("init_key", 32)
	o.leaf()
	o.extensions("extensions")
	o.sized("signature", 64)
}

// groupInfo: RFC 9420, Section 12.4.3.
func (o *octets) groupInfo() {
	o.t.Helper()
	o.number(2, "version", 1)
	o.number(2, "cipher_suite", 1)
	o.vector("group_id")
	o.take(8, "epoch")
	o.sized("tree_hash", 32)
	o.sized("confirmed_transcript_hash", 32)
	o.extensions("group context extensions")
	o.each("group info extensions", func(e *octets) { // UP-9
		if e.number(2, "type") == 2 {
			o.t.Errorf("%s: GroupInfo with ratchet_tree", o.what)
		}
		e.vector("data")
	})
	o.sized("confirmation_tag", 32)
	o.take(4, "signer")
	o.sized("signature", 64)
}

// message: an MLSMessage; RFC 9420, Section 6. It returns wire format and content type.
func (o *octets) message() (format, content uint64) {
	o.t.Helper()
	o.number(2, "version", 1)
	switch format = o.number(2, "wire_format"); format {
	case 1:
		content = o.public()
	case 2:
		o.vector("group_id")
		o.take(8, "epoch")
		content = o.number(1, "content_type", 1)
		o.vectors("authenticated_data", "encrypted_sender_data", "ciphertext")
	case 3:
		o.number(2, "cipher_suite", 1)
		o.each("secrets", func(s *octets) { s.sized("new_member", 32); s.vectors("kem_output", "ciphertext") })
		o.vector("encrypted_group_info")
	default:
		o.t.Fatalf("%s: wire format %d", o.what, format)
	}
	return format, content
}

func (o *octets) public() (content uint64) {
	o.t.Helper()
	o.vector("group_id")
	o.take(8, "epoch")
	sender := o.number(1, "sender_type")
	if sender == 1 || sender == 2 {
		o.take(4, "sender")
	}
	o.vector("authenticated_data")
	switch content = o.number(1, "content_type"); content {
	case 2:
		o.proposal()
	case 3:
		o.each("proposals", func(p *octets) {
			if p.number(1, "ProposalOrRef") == 2 {
				p.vector("reference")
				return
			}
			p.proposal()
		})
		if o.optional("path") {
			o.leaf()
			o.each("path nodes", func(n *octets) {
				n.vector("encryption_key")
				n.each("secrets", func(s *octets) { s.vectors("kem_output", "ciphertext") })
			})
		}
	}
	o.sized("signature", 64)
	if content == 3 {
		o.sized("confirmation_tag", 32)
	}
	if sender == 1 {
		o.sized("membership_tag", 32)
	}
	return content
}

func (o *octets) proposal() {
	o.t.Helper()
	switch kind := o.number(2, "proposal type"); kind {
	case 1:
		o.keyPackage()
	case 3:
		o.take(4, "removed")
	case 6:
		o.vector("kem_output")
	case 8:
		o.number(2, "component_id")
		if o.number(1, "operation") == 1 {
			o.vector("update")
		}
	case 0x000a:
	default:
		o.t.Fatalf("%s: proposal of type %d", o.what, kind)
	}
}

// signed checks a signature by label over everything before it, with a key that was read before.
func (o *octets) signed(key []byte, label string) {
	o.t.Helper()
	tbs := o.all[:len(o.all)-len(o.left)]
	signature := o.sized("signature", 64)
	content := append(vec([]byte("MLS 1.0 "+label)), vec(tbs)...)
	if !ed25519.Verify(key, content, signature) {
		o.t.Errorf("%s: signature is not one of %s", o.what, label)
	}
}

// vec writes opaque x<V>.
func vec(b []byte) []byte {
	switch n := len(b); {
	case n < 1<<6:
		return append([]byte{byte(n)}, b...)
	case n < 1<<14:
		return append(binary.BigEndian.AppendUint16(nil, 1<<14|uint16(n)), b...)
	default:
		return append(binary.BigEndian.AppendUint32(nil, 1<<31|uint32(n)), b...)
	}
}

// TestEN4WhatWeSendAsAHubsGuest reads all that our provider sends to another one that hosts a room, and to its users.
func TestEN4WhatWeSendAsAHubsGuest(t *testing.T) {
	visit(t, foreign.Manners{}, func(l *land) {
		id, err := l.oscar.Found("club", nil)
		must(t, err)
		must(t, l.oscar.Add(id, l.alice.Account.User))
		guest(l, id)
		l.headers()
		alice := l.alice.Account.User.String()
		for _, endpoint := range []string{"keyMaterial", "submitMessage", "update", "groupInfo", "identifierQuery", "updateConsent"} {
			all := l.other.Seen(endpoint)
			if len(all) == 0 {
				t.Errorf("nothing came to %s", endpoint)
			}
			for _, r := range all {
				o := body(t, endpoint, r.Body)
				switch endpoint {
				case "keyMaterial":
					o.keyMaterialRequest(alice, l.dave.Account.User.String(), id)
				case "submitMessage":
					o.number(1, "protocol", 1)
					if format, _ := o.message(); format != 2 {
						t.Errorf("submitMessage: wire format %d", format)
					}
					if uri := string(o.vector("sendingUri")); uri != alice && uri != l.dave.Account.User.String() {
						t.Errorf("submitMessage: sendingUri %q", uri)
					}
				case "update":
					o.updateRequest()
				case "groupInfo":
					o.groupInfoRequest()
				case "identifierQuery":
					o.identifierRequest()
				case "updateConsent":
					o.consent(r.Target)
				}
				o.end()
			}
		}
	})
}

// headers checks what is around all requests of ours.
func (l *land) headers() {
	l.t.Helper()
	for _, endpoint := range []string{"keyMaterial", "submitMessage", "update", "groupInfo", "identifierQuery", "updateConsent", "requestConsent", "notify"} {
		for _, r := range l.other.Seen(endpoint) {
			h := r.Header
			if r.Host != "other.example" || len(h.Values("From")) != 1 || h.Get("From") != "mimi@a.example" || h.Get("Content-Type") != "application/octet-stream" {
				l.t.Errorf("%s: host %q, header %v", endpoint, r.Host, h)
			}
			// The variables of its templates, whichever they are, hold whole identifiers.
			if u, err := url.Parse(r.Target); err != nil || u.Scheme != "mimi" || u.Host == "" {
				l.t.Errorf("%s: asked for %q", endpoint, r.Target)
			}
		}
	}
}

func (o *octets) keyMaterialRequest(by, target string, room mimi.RoomID) {
	o.number(1, "protocol", 1)
	o.text("requestingUser", by)
	o.text("targetUser", target)
	o.text("roomId", room.String())
	o.text("acceptableCiphersuites", "\x00\x01")
	o.text("required extensions", "\x00\x06")
	o.text("required proposals", "\x00\x08\x00\x0a")
	o.text("required credentials", "")
	key := o.sized("requesterSignatureKey", 32)
	o.credential()
	o.signed(key, "KeyMaterialRequestTBS")
}

func (o *octets) updateRequest() {
	format, content := o.message()
	switch {
	case format != 1:
		o.t.Errorf("update: wire format %d", format)
	case content == 2:
		o.each("moreProposals", func(m *octets) { m.message() })
	default:
		if o.optional("welcome") {
			o.number(2, "cipher_suite", 1)
			o.each("secrets", func(s *octets) { s.sized("new_member", 32); s.vectors("kem_output", "ciphertext") })
			o.vector("encrypted_group_info")
		}
		o.number(1, "GroupInfoOption", 1)
		o.groupInfo()
		o.number(1, "RatchetTreeOption", 4)
	}
}

func (o *octets) groupInfoRequest() {
	o.number(1, "protocol", 1)
	o.number(2, "cipher_suite", 1)
	key := o.sized("requestingSignatureKey", 32)
	o.credential()
	o.sized("groupInfoPublicKey", 32)
	if o.optional("joiningCode") {
		o.vector("joiningCode")
	}
	o.signed(key, "GroupInfoRequestTBS")
}

// identifierRequest: the names of people whom our users have met, by their handle.
func (o *octets) identifierRequest() {
	for _, uri := range []string{"mimi://other.example/u/Oscar", "mimi://other.example/u/Olga"} {
		element := append([]byte{1}, vec([]byte(uri))...)
		if golden := append(vec(element), 0); bytes.Equal(o.all, golden) {
			o.left = nil
		}
	}
	if o.left != nil {
		o.t.Errorf("identifierQuery: %x", o.all)
	}
}

// consent: op 3 revoke or 2 grant, requester, target, no room, no KeyPackages, no extensions; {requesterUser} is in the path.
func (o *octets) consent(target string) {
	for _, us := range []string{"alice", "dave"} {
		golden := append([]byte{2}, vec([]byte(target))...)
		golden = append(golden, vec([]byte("mimi://a.example/u/"+us))...)
		if bytes.Equal(o.all, append(golden, 0, 0, 0)) {
			o.left = nil
		}
	}
	if o.left != nil {
		o.t.Errorf("updateConsent for %s: %x", target, o.all)
	}
}

// TestEN4WhatWeSendAsAHub reads what our provider sends to another one as the hub of a room, and what it answers.
func TestEN4WhatWeSendAsAHub(t *testing.T) {
	visit(t, foreign.Manners{}, func(l *land) {
		id := l.club(l.oscar.User)
		l.until("Oscar is in", func() bool { return l.oscar.Users(id) != nil })
		l.send(l.alice, id, "hello")
		l.reads(l.oscar, id, "hello")
		must(t, l.oscar.Send(id, "hello Alice"))
		second, err := l.other.Device("Oscar", "ClientA2")
		must(t, err)
		must(t, second.Join(id, nil))
		must(t, l.alice.Session.AddMembers(ctx, id.String(), []string{l.olga.User.String()}))
		l.until("Olga is in", func() bool { return l.olga.Users(id) != nil })
		must(t, l.olga.Leave(id))
		l.until("Olga is out", func() bool { return l.olga.Users(id) == nil })
		_, err = l.oscar.Claim(mimi.RoomID{}, l.dave.Account.User)
		must(t, err)
		l.headers()

		kinds := map[uint64]int{}
		var last uint64
		for _, r := range l.other.Seen("notify") {
			if r.Target != id.String() {
				t.Errorf("notify for %q", r.Target)
			}
			for o := body(t, "notify", r.Body); len(o.left) > 0; {
				now := o.number(8, "timestamp")
				if now < last {
					t.Errorf("time goes from %d to %d", last, now)
				}
				last = now
				format, content := o.message()
				kinds[format<<8|content]++
				switch {
				case format == 2:
					if o.optional("frank") {
						o.frank()
					}
				case format == 3:
					o.number(1, "RatchetTreeOption", 1)
					o.vector("ratchet_tree")
				case content == 2:
					o.each("moreProposals", func(m *octets) { m.message() })
				default:
					o.each("externalProposals", func(m *octets) { m.message() })
				}
			}
		}
		for kind, what := range map[uint64]string{2<<8 | 1: "message", 3 << 8: "Welcome", 1<<8 | 2: "proposal", 1<<8 | 3: "commit"} {
			if kinds[kind] == 0 {
				t.Errorf("no %s", what)
			}
		}
		l.answers(id)
	})
}

func (o *octets) frank() {
	o.take(32, "server_frank")
	o.number(2, "franking_signature_ciphersuite", 1)
	o.sized("franking_integrity_signature", 64)
}

// answers reads what our provider has answered.
func (l *land) answers(id mimi.RoomID) {
	t := l.t
	t.Helper()
	for endpoint, read := range map[string]func(o *octets){
		"submitMessage": func(o *octets) {
			o.number(1, "protocol", 1)
			o.number(1, "statusCode", 0)
			o.take(8, "accepted_timestamp")
			if o.optional("frank") {
				o.frank()
			}
		},
		"update": func(o *octets) {
			o.number(1, "responseCode", 0)
			o.text("errorDescription", "")
			o.take(8, "accepted_timestamp")
		},
		"groupInfo": func(o *octets) {
			o.number(1, "protocol", 1)
			o.text("room_id", id.String())
			o.number(1, "status", 1)
			o.number(2, "cipher_suite", 1)
			key := o.sized("hub_sender key", 32)
			o.credential()
			o.vectors("kem_output", "ciphertext")
			o.signed(key, "GroupInfoResponseTBS")
		},
		"keyMaterial": func(o *octets) {
			o.number(1, "protocol", 1)
			o.number(1, "userStatus", 0)
			o.text("userUri", l.dave.Account.User.String())
			o.each("clients", func(c *octets) {
				c.number(1, "clientStatus", 0)
				if uri := string(c.vector("clientUri")); !strings.HasPrefix(uri, "mimi://a.example/d/dave/") {
					t.Errorf("clientUri %q", uri)
				}
				c.keyPackage()
			})
		},
		"updateConsent": nil,
	} {
		all := l.other.Got(endpoint)
		if len(all) == 0 {
			t.Errorf("nothing was answered by %s", endpoint)
		}
		for _, a := range all {
			l.answer(endpoint, a, read)
		}
	}
}

// answer checks one answer: a struct with 200, or nothing with 201 (TR-7).
func (l *land) answer(endpoint string, a *servertest.Answer, read func(*octets)) {
	l.t.Helper()
	if read == nil {
		if a.Status != http.StatusCreated || len(a.Body) > 0 {
			l.t.Errorf("%s: %d with %d octets", endpoint, a.Status, len(a.Body))
		}
		return
	}
	if a.Status != http.StatusOK || a.Header.Get("Content-Type") != "application/octet-stream" {
		l.t.Errorf("%s: %d, %v", endpoint, a.Status, a.Header)
	}
	o := body(l.t, "answer of "+endpoint, a.Body)
	read(o)
	o.end()
}

// TestDI1DirectoryIsStrict: our directory is one JSON object with its ten members, each once, and what begins with x-.
func TestDI1DirectoryIsStrict(t *testing.T) {
	visit(t, foreign.Manners{}, func(l *land) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://a.example/.well-known/mimi-protocol-directory", nil)
		must(t, err)
		a, err := l.other.Do(r)
		must(t, err)
		if a.Status != http.StatusOK || a.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%d, %v", a.Status, a.Header)
		}
		d := json.NewDecoder(bytes.NewReader(a.Body))
		seen := map[string]bool{}
		token := func() any {
			x, err := d.Token()
			must(t, err)
			return x
		}
		if token() != json.Delim('{') {
			t.Fatal("not an object")
		}
		templates := 0
		for d.More() {
			name, _ := token().(string)
			if seen[name] {
				t.Errorf("%s is there twice", name)
			}
			seen[name] = true
			var value any
			must(t, d.Decode(&value))
			if strings.HasPrefix(name, "x-") {
				continue
			}
			templates++
			text, _ := value.(string)
			before, rest, _ := strings.Cut(text, "{")
			_, after, ok := strings.Cut(rest, "}")
			if u, err := url.Parse(before + "x" + after); err != nil || !ok || u.Scheme != "https" || u.RawQuery != "" || strings.ContainsAny(after, "{}") {
				t.Errorf("%s: %v", name, value)
			}
		}
		token()
		if rest := bytes.TrimSpace(a.Body[d.InputOffset():]); len(rest) > 0 || templates != 10 {
			t.Errorf("%d templates, and %q behind the object", templates, rest)
		}
	})
}
