package room

import (
	"kith/mimi"
	"kith/mimi/policy"
)

// Origin is where a request comes from, as far as the transport has proved it. One of our own devices is known by its
// URI. Of what another provider sends only that provider is known: it vouches for its clients, whose signatures on
// handshakes the hub checks itself.
//
// draft-ietf-mimi-protocol-06, Section 4.1
type Origin struct {
	Provider mimi.ProviderID
	Client   mimi.ClientID // zero: some client of Provider
}

// RuleOrigin is the rule of a refusal whose reason is which provider a request came from, not what it says.
const RuleOrigin = "TR-6"

// foreign is the refusal of what somebody else has signed than the one it comes from.
func (o Origin) foreign(reason string) *policy.Refusal {
	if o.Client.IsZero() && !o.Provider.IsZero() {
		return refusal(RuleOrigin, reason)
	}
	return refusal("UP-3", reason)
}

// From is the origin of what one of our own devices asks for.
func From(client mimi.ClientID) Origin {
	return Origin{Provider: client.Provider(), Client: client}
}

// Is reports whether the request can come from a client.
func (o Origin) Is(client mimi.ClientID) bool {
	if o.Client.IsZero() {
		return !o.Provider.IsZero() && client.Provider() == o.Provider
	}
	return o.Client == client
}
