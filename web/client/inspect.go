package client

import "context"

// Inspection is what a room is like inside: for tests, and for a person who reports that something is wrong.
type Inspection struct {
	Epoch         uint64
	Authenticator []byte // the same for all who are in the same epoch of the same group
	Devices       int    // leaves of the group
	Broken        bool   // the group's state is of no use; this device is about to rejoin
	Pending       int    // changes, joins and messages on their way to the hub
	Failed        int    // messages the user has to decide about
}

// Inspect looks into a room. A room without a group has the epoch 0 and no authenticator.
func (s *Session) Inspect(ctx context.Context, room string) (Inspection, error) {
	return with(ctx, s, func(e *engine, ctx context.Context) (i Inspection, err error) {
		err = e.do(ctx, func() error {
			r, err := e.find(room)
			if err != nil {
				return err
			}
			i = r.inspect()
			g, err := e.groupOf(r)
			if g != nil && err == nil {
				i.Epoch, i.Authenticator, i.Devices = g.Epoch(), g.EpochAuthenticator(), len(g.Members())
			}
			return err
		})
		return i, err
	})
}

func (r *room) inspect() Inspection {
	i := Inspection{Broken: r.rec.broken}
	for _, o := range r.out {
		if o.failed {
			i.Failed++
		} else {
			i.Pending++
		}
	}
	if r.change != nil {
		i.Pending++
	}
	if r.join != nil || r.joining {
		i.Pending++
	}
	return i
}
