package mls

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"time"
)

func isGrease(v uint16) bool { return v&0x0F0F == 0x0A0A && v>>8 == v&0xFF && v != 0xFAFA }

func countGrease[T ~uint16](list []T) int {
	n := 0
	for _, v := range list {
		if isGrease(uint16(v)) {
			n++
		}
	}
	return n
}

// A whole life with GREASE everywhere it may be, and nowhere else.
func TestML3Grease(t *testing.T) {
	dict := AppDataDictionary{
		{ID: ComponentAppComponents, Data: must[[]byte](t)(ComponentsList{1, 2}.Bytes())},
		{ID: ComponentSafeAAD, Data: must[[]byte](t)(ComponentsList{}.Bytes())},
	}
	for seed := range uint64(20) {
		w := newWorld(t, seed, nil)
		w.cfg.GREASE = true
		c := w.client("m0")
		c.LeafExtensions = must[Extensions](t)(Extensions{}.SetAppData(dict))
		plain := c.Capabilities.clone()
		g := must[*Group](t)(NewGroup(w.cfg, c, []byte("group"), nil))
		gi := must[*GroupInfo](t)(g.GroupInfo())
		w.members["m0"], w.hub = g, must[*PublicGroup](t)(NewPublicGroup(w.cfg, gi, must[RatchetTree](t)(g.RatchetTree())))
		if countGrease(gi.Extensions.types()) != 1 {
			t.Errorf("group info with extensions %v", gi.Extensions.types())
		}
		leaf, _ := g.Leaf(0)
		got := must[AppDataDictionary](t)(leaf.Extensions.AppData())
		supported := must[ComponentsList](t)(leaf.Components())
		aad, _ := got.Get(ComponentSafeAAD)
		if countGrease(leaf.Extensions.types()) != 1 || len(got) != 3 || countGrease(supported) != 1 ||
			countGrease(must[ComponentsList](t)(UnmarshalComponentsList(aad))) != 1 {
			t.Errorf("leaf with extensions %v and dictionary %v", leaf.Extensions.types(), got)
		}
		_, key := w.keyPackage("x")
		for _, l := range []*LeafNode{leaf, &key.KeyPackage.LeafNode} {
			caps := l.Capabilities
			if countGrease(caps.CipherSuites) != 1 || countGrease(caps.Extensions) != 1 || countGrease(caps.Proposals) != 1 ||
				countGrease(caps.Credentials) != 1 || countGrease(caps.Versions) != 0 {
				t.Errorf("capabilities %+v", caps)
			}
		}
		if countGrease(key.KeyPackage.Extensions.types()) != 1 || key.KeyPackage.Verify(time.Time{}) != nil {
			t.Errorf("key package with extensions %v", key.KeyPackage.Extensions.types())
		}
		last := must[*KeyPackageSecrets](t)(NewLastResortKeyPackage(w.cfg, c, Lifetime{0, 1 << 40}, nil))
		if marked := must[AppDataDictionary](t)(last.KeyPackage.Extensions.AppData()); !last.KeyPackage.LastResort() || len(marked) != 2 {
			t.Errorf("key package of last resort with dictionary %v", marked)
		}
		// RFC 9420, Section 13.5: our own capabilities are without
		if !slices.Equal(c.Capabilities.Extensions, plain.Extensions) || !slices.Equal(c.Capabilities.Proposals, plain.Proposals) {
			t.Error("the client's capabilities have changed")
		}
		w.add("m0", "a", "b")
		w.commit("a", CommitOptions{RenewLeaf: true, Proposals: []Proposal{AppDataUpdateProposal(7, nil)}})
		w.tell("b", must[*Message](t)(w.members["b"].ProposeUpdate(nil)))
		w.commit("m0", CommitOptions{})
		x, b, err := JoinExternal(w.cfg, w.client("x"), w.hub.GroupInfo(), must[RatchetTree](t)(w.hub.RatchetTree()), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		w.members["x"] = x
		w.deliver("x", b)
		w.say("x", "hello")
		if types := w.hub.Context().Extensions.types(); countGrease(types) != 0 {
			t.Errorf("GREASE in the GroupContext: %v", types)
		}
	}
}

// The values come from the caller's randomness: the same gives the same, and none is an error.
func TestGreaseIsDeterministic(t *testing.T) {
	make := func(grease bool) []byte {
		r := newRandom(5)
		c := newTestClient(t, r, "a")
		k := must[*KeyPackageSecrets](t)(NewKeyPackage(Config{Rand: r, GREASE: grease}, c, Lifetime{0, 1}, nil))
		return must[[]byte](t)(k.KeyPackage.Bytes())
	}
	equal(t, "key package", make(true), make(true))
	if bytes.Equal(make(true), make(false)) {
		t.Error("no GREASE")
	}
	seen := map[uint16]bool{}
	g := &greaser{rand: newRandom(6)}
	for range 500 {
		v, id := g.value(), g.component()
		if !isGrease(v) || !isGrease(uint16(id)) || id >= 0x8000 {
			t.Fatalf("values %#04x and %#04x", v, id)
		}
		seen[v] = true
	}
	if len(seen) != 15 {
		t.Errorf("%d different values", len(seen))
	}
	c := newTestClient(t, newRandom(7), "a")
	if _, err := (&Config{Rand: io.LimitReader(newRandom(8), 3), GREASE: true}).leafNode(c, nil); !errors.Is(err, errNoRandomness) {
		t.Errorf("without randomness: %v", err)
	}
}
