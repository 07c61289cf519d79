//go:build js && wasm

package main

import (
	"context"
	"syscall/js"

	"kith/web/client"
)

// arguments reads the object an operation was called with; what is absent or of another type reads as zero.
type arguments struct{ v js.Value }

func (a arguments) get(name string) (v js.Value) {
	if a.v.Type() == js.TypeObject {
		v = a.v.Get(name)
	}
	return v
}

func (a arguments) str(name string) (s string) {
	if v := a.get(name); v.Type() == js.TypeString {
		s = v.String()
	}
	return s
}

func (a arguments) number(name string) (n int) {
	if v := a.get(name); v.Type() == js.TypeNumber {
		n = v.Int()
	}
	return n
}

func (a arguments) list(name string) (out []string) {
	if v := a.get(name); v.InstanceOf(js.Global().Get("Array")) {
		for i := range v.Length() {
			if s := v.Index(i); s.Type() == js.TypeString {
				out = append(out, s.String())
			}
		}
	}
	return out
}

// background is the context of operations: pages wait for promises, they do not cancel.
var background = context.Background()

// done is an operation without a value.
func done(run func(s *client.Session, a arguments) error) operation {
	return func(s *client.Session, a arguments) (any, error) { return nil, run(s, a) }
}

type operation func(s *client.Session, a arguments) (any, error)

// operations is the table of what a page can ask for. In front of each stands its JavaScript form.
var operations = map[string]operation{
	// state({}) → state
	"state": func(s *client.Session, _ arguments) (any, error) { return s.State(background), nil },
	// rooms({}) → [room]
	"rooms": func(s *client.Session, _ arguments) (any, error) { return s.Rooms(background) },
	// timeline({room, before?, limit?}) → {messages, more}
	"timeline": func(s *client.Session, a arguments) (any, error) {
		return s.Timeline(background, a.str("room"), a.str("before"), a.number("limit"))
	},
	// send({room, text}) → message
	"send": func(s *client.Session, a arguments) (any, error) {
		return s.Send(background, a.str("room"), a.str("text"))
	},
	// retry({room, id}) → undefined
	"retry": done(func(s *client.Session, a arguments) error { return s.Retry(background, a.str("room"), a.str("id")) }),
	// discard({room, id}) → undefined
	"discard": done(func(s *client.Session, a arguments) error { return s.Discard(background, a.str("room"), a.str("id")) }),
	// report({room, ids: [id], note}) → undefined
	"report": done(func(s *client.Session, a arguments) error {
		return s.Report(background, a.str("room"), a.list("ids"), a.str("note"))
	}),
	// newChat({address}) → room
	"newChat": func(s *client.Session, a arguments) (any, error) { return s.NewChat(background, a.str("address")) },
	// newGroup({kind, name, members: [address]}) → room
	"newGroup": func(s *client.Session, a arguments) (any, error) {
		return s.NewGroupOf(background, a.str("kind"), a.str("name"), a.list("members"))
	},
	// makeLink({room}) → offer
	"makeLink": func(s *client.Session, a arguments) (any, error) { return s.MakeLink(background, a.str("room")) },
	// revokeLink({room, link}) → undefined
	"revokeLink": done(func(s *client.Session, a arguments) error {
		return s.RevokeLink(background, a.str("room"), a.str("link"))
	}),
	// join({offer}) → room
	"join": func(s *client.Session, a arguments) (any, error) { return s.Join(background, a.str("offer")) },
	// members({room}) → [member]
	"members": func(s *client.Session, a arguments) (any, error) { return s.Members(background, a.str("room")) },
	// addMembers({room, members: [address]}) → undefined
	"addMembers": done(func(s *client.Session, a arguments) error {
		return s.AddMembers(background, a.str("room"), a.list("members"))
	}),
	// removeMember({room, user}) → undefined
	"removeMember": done(func(s *client.Session, a arguments) error {
		return s.RemoveMember(background, a.str("room"), a.str("user"))
	}),
	// rename({room, name}) → undefined
	"rename": done(func(s *client.Session, a arguments) error { return s.Rename(background, a.str("room"), a.str("name")) }),
	// details({room}) → details
	"details": func(s *client.Session, a arguments) (any, error) { return s.Details(background, a.str("room")) },
	// describe({room, text}) → undefined
	"describe": done(func(s *client.Session, a arguments) error {
		return s.Describe(background, a.str("room"), a.str("text"))
	}),
	// kick, ban, unban({room, user}) → undefined
	"kick":  done(func(s *client.Session, a arguments) error { return s.Kick(background, a.str("room"), a.str("user")) }),
	"ban":   done(func(s *client.Session, a arguments) error { return s.Ban(background, a.str("room"), a.str("user")) }),
	"unban": done(func(s *client.Session, a arguments) error { return s.Unban(background, a.str("room"), a.str("user")) }),
	// setRole({room, user, role}) → undefined
	"setRole": done(func(s *client.Session, a arguments) error {
		return s.SetRole(background, a.str("room"), a.str("user"), a.number("role"))
	}),
	// setRule({room, rule, value}) → undefined
	"setRule": done(func(s *client.Session, a arguments) error {
		return s.SetRule(background, a.str("room"), a.str("rule"), a.number("value"))
	}),
	// closeRoom({room}) → undefined
	"closeRoom": done(func(s *client.Session, a arguments) error { return s.CloseRoom(background, a.str("room")) }),
	// leave, deleteRoom({room}) → undefined
	"leave":      done(func(s *client.Session, a arguments) error { return s.Leave(background, a.str("room")) }),
	"deleteRoom": done(func(s *client.Session, a arguments) error { return s.DeleteRoom(background, a.str("room")) }),
	// devices({}) → [device]
	"devices": func(s *client.Session, _ arguments) (any, error) { return s.Devices(background) },
	// removeDevice({client}) → undefined
	"removeDevice": done(func(s *client.Session, a arguments) error { return s.RemoveDevice(background, a.str("client")) }),
	// markRead({room, key}) → undefined
	"markRead": done(func(s *client.Session, a arguments) error { return s.MarkRead(background, a.str("room"), a.str("key")) }),
	// search({text}) → [{user, name, displayName}]
	"search": func(s *client.Session, a arguments) (any, error) { return s.Search(background, a.str("text")) },
	// acceptIdentity({domain}) → undefined
	"acceptIdentity": done(func(s *client.Session, a arguments) error { return s.AcceptIdentity(background, a.str("domain")) }),
	// requests({}) → {incoming: [request], outgoing: [request], blocked: [request]}
	"requests": func(s *client.Session, _ arguments) (any, error) { return s.Requests(background) },
	// acceptRequest({user, room?}) → undefined
	"acceptRequest": done(func(s *client.Session, a arguments) error {
		return s.AcceptRequest(background, a.str("user"), a.str("room"))
	}),
	// declineRequest({user, room?}) → undefined
	"declineRequest": done(func(s *client.Session, a arguments) error {
		return s.DeclineRequest(background, a.str("user"), a.str("room"))
	}),
	// cancelRequest({user, room?}) → undefined
	"cancelRequest": done(func(s *client.Session, a arguments) error {
		return s.CancelRequest(background, a.str("user"), a.str("room"))
	}),
	// blockUser({user}) → undefined
	"blockUser": done(func(s *client.Session, a arguments) error { return s.BlockUser(background, a.str("user")) }),
	// unblockUser({user}) → undefined
	"unblockUser": done(func(s *client.Session, a arguments) error { return s.UnblockUser(background, a.str("user")) }),
	// signOut({}) → undefined
	"signOut": done(func(s *client.Session, _ arguments) error { return s.SignOut(background) }),
	// dropped({}) → {reason: count}
	"dropped": func(s *client.Session, _ arguments) (any, error) { return s.Dropped(background) },
}

func call(s *client.Session, op js.Value, a arguments) (any, error) {
	if run, ok := operations[op.String()]; ok && op.Type() == js.TypeString {
		return run(s, a)
	}
	return nil, &client.Error{Code: client.CodeInternal, Text: "unknown operation"}
}
