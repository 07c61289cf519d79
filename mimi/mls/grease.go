package mls

import (
	"errors"
	"io"
	"slices"
)

// GREASE: reserved values in the places that others must ignore, so that those who do not are found out before a real
// extension meets them. Nothing here, or anywhere in the package, treats such a value specially when it is received.
//
// RFC 9420, Section 13.5; draft-ietf-mls-extensions, Section 5.1

// greaser draws the values. A failure of its source is kept in err, for its user to return.
type greaser struct {
	rand io.Reader
	err  error
}

var errNoRandomness = errors.New("mls: no randomness")

// below draws a number below n, which is at most 256. That the small ones are a little more frequent does no harm.
func (g *greaser) below(n int) int {
	var b [1]byte
	if _, err := io.ReadFull(g.rand, b[:]); err != nil {
		g.err = errNoRandomness
	}
	return int(b[0]) % n
}

// value is one of the fifteen values that are reserved in each registry.
func (g *greaser) value() uint16 { return 0x0A0A + 0x1010*uint16(g.below(15)) }

// component is one of the eight values that are reserved among the components.
func (g *greaser) component() ComponentID { return 0x0A0A + 0x1010*ComponentID(g.below(8)) }

// data is a little random data.
func (g *greaser) data() []byte {
	out := make([]byte, g.below(16))
	if _, err := io.ReadFull(g.rand, out); err != nil {
		g.err = errNoRandomness
	}
	return out
}

// greased is a list with a value at a random place, unless it is there; the list itself stays as it is.
func greased[T ~uint16](g *greaser, list []T, value T) []T {
	if slices.Contains(list, value) {
		return list
	}
	out := append(slices.Clone(list), value)
	at := g.below(min(len(out), 256))
	out[at], out[len(list)] = out[len(list)], out[at]
	return out
}

// extensions is a list with an extension at a random place, unless one of its type is there; the list itself stays as
// it is.
func (g *greaser) extensions(e Extensions, t ExtensionType) Extensions {
	if _, ok := e.Get(t); ok {
		return e
	}
	out := append(slices.Clone(e), Extension{Type: t, Data: g.data()})
	at := g.below(min(len(out), 256))
	out[at], out[len(e)] = out[len(e)], out[at]
	return out
}

// dictionary adds a component to an app_data_dictionary, if there is one, and to its lists of components.
func (g *greaser) dictionary(e Extensions) Extensions {
	dict, err := e.AppData()
	if err != nil || dict == nil {
		return e
	}
	for _, id := range []ComponentID{ComponentAppComponents, ComponentSafeAAD} {
		data, ok := dict.Get(id)
		if !ok {
			continue
		}
		list, err := UnmarshalComponentsList(data)
		if err != nil {
			continue
		}
		if data, err = ComponentsList(greased(g, list, g.component())).Bytes(); err == nil {
			dict = dict.Set(id, data)
		}
	}
	id := g.component()
	if _, ok := dict.Get(id); !ok {
		dict = dict.Set(id, g.data())
	}
	out, err := e.SetAppData(dict)
	if err != nil {
		return e
	}
	return out
}

// leaf adds values to the capabilities of an unsigned leaf, and an extension, which the capabilities list.
func (g *greaser) leaf(l *LeafNode) {
	c := &l.Capabilities
	c.CipherSuites = greased(g, c.CipherSuites, CipherSuite(g.value()))
	c.Proposals = greased(g, c.Proposals, ProposalType(g.value()))
	c.Credentials = greased(g, c.Credentials, CredentialType(g.value()))
	t := ExtensionType(g.value())
	c.Extensions = greased(g, c.Extensions, t)
	l.Extensions = g.extensions(g.dictionary(l.Extensions), t)
}

// keyPackage adds an extension to an unsigned KeyPackage, of the type that its leaf lists already.
func (g *greaser) keyPackage(k *KeyPackage) {
	for _, t := range k.LeafNode.Capabilities.Extensions {
		if t&0x0F0F == 0x0A0A && t>>8 == t&0xFF {
			k.Extensions = g.extensions(g.dictionary(k.Extensions), t)
			return
		}
	}
}

// leafNode is an unsigned leaf of a client with the given encryption key; Source is for the caller to set.
func (c *Config) leafNode(client *Client, key HPKEPublicKey) (*LeafNode, error) {
	l := client.leafNode(key)
	// RFC 9420, Section 7.2: what everybody supports is not listed
	if slices.ContainsFunc(l.Capabilities.Extensions, ExtensionType.isDefault) ||
		slices.ContainsFunc(l.Capabilities.Proposals, ProposalType.isDefault) {
		return nil, errors.New("mls: capabilities list a default type")
	}
	if !c.GREASE {
		return &l, nil
	}
	g := &greaser{rand: c.rand()}
	g.leaf(&l)
	return &l, g.err
}
