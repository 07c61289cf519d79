package server

import (
	"fmt"
	"io"
	"sync/atomic"
)

// messengerMetrics counts what the messenger does. What is counted for every message is a plain number: nothing is
// formatted before somebody asks. No label names a person, device or room.
type messengerMetrics struct {
	sockets    atomic.Int64
	accepted   [5]atomic.Int64 // by kind of event, as db numbers them
	deliveries atomic.Int64
	messages   atomic.Int64 // websocket messages sent
	frames     atomic.Int64 // and the frames in them
	catchUps   atomic.Int64
	refusals   *counter
}

var eventKinds = [...]string{"create", "message", "proposal", "commit", "welcome"}

func newMessengerMetrics() *messengerMetrics {
	return &messengerMetrics{refusals: newCounter("kith_refusals_total", "Requests of browsers that were refused.", "op", "code")}
}

func (m *messengerMetrics) write(w io.Writer) {
	single := func(name, kind, help string, value int64) {
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n%s %d\n", name, help, name, kind, name, value)
	}
	single("kith_sockets", "gauge", "Open websockets.", m.sockets.Load())
	fmt.Fprint(w, "# HELP kith_events_accepted_total Events accepted into rooms.\n# TYPE kith_events_accepted_total counter\n")
	for i, kind := range eventKinds {
		fmt.Fprintf(w, "kith_events_accepted_total{kind=%q} %d\n", kind, m.accepted[i].Load())
	}
	single("kith_deliveries_total", "counter", "Events sent to devices.", m.deliveries.Load())
	single("kith_socket_messages_total", "counter", "Websocket messages sent.", m.messages.Load())
	single("kith_socket_frames_total", "counter", "Frames in the websocket messages sent.", m.frames.Load())
	single("kith_catch_ups_total", "counter", "Pages read from the database for devices behind the live events.", m.catchUps.Load())
	m.refusals.write(w)
}
