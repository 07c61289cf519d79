//go:build js && wasm

package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"kith/mimi/mls"
)

// TestEngineFigures prints what MLS costs in a browser; web/browsertest runs it there when figures are asked for.
func TestEngineFigures(t *testing.T) {
	if os.Getenv("KITH_FIGURES") == "" {
		t.Skip("figures are measured on request: KITH_FIGURES=1")
	}
	for _, tree := range []string{"populated", "fresh"} {
		f := newField(t, 100, tree == "populated")
		f.figures(tree + " tree")
	}
}

const suite = mls.X25519AES128GCMSHA256Ed25519

type application struct{}

func (application) ValidateCredential(mls.Credential, mls.SignaturePublicKey, *mls.Credential) error {
	return nil
}

func (application) UpdateComponent(mls.ComponentID, []byte, [][]byte) ([]byte, error) {
	return nil, nil
}

// helped is what the engine gives mls, alone the same without the browser's help.
var (
	alone  = mls.Config{Application: application{}}
	helped = mls.Config{Application: application{}, VerifyEd25519: verifyEd25519}
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newClient(name string) *mls.Client {
	return &mls.Client{
		SignatureKey: must(mls.GenerateSignatureKey(suite, nil)),
		Credential:   mls.BasicCredential([]byte(name)),
		Capabilities: mls.Capabilities{
			Versions: []uint16{mls.VersionMLS10}, CipherSuites: []mls.CipherSuite{suite}, Credentials: []mls.CredentialType{mls.CredentialBasic},
		},
	}
}

func newKeyPackage(c *mls.Client) *mls.KeyPackageSecrets {
	return must(mls.NewKeyPackage(alone, c, mls.Lifetime{NotAfter: math.MaxUint64}, nil))
}

// field is a group of which two members are there, the first and the last.
type field struct {
	t    *testing.T
	x, y *mls.Group
}

// newField makes a group of n. In a populated tree all have sent a path, in a fresh one they have just been added.
func newField(t *testing.T, n int, populated bool) *field {
	f := &field{t: t, x: must(mls.NewGroup(helped, newClient("founder"), []byte("figures"), nil))}
	if !populated {
		var adds []mls.Proposal
		for i := range n - 2 {
			adds = append(adds, mls.AddProposal(newKeyPackage(newClient(fmt.Sprint("member ", i))).KeyPackage))
		}
		last := newClient("last")
		key := newKeyPackage(last)
		bundle := must(f.x.Commit(mls.CommitOptions{Proposals: append(adds, mls.AddProposal(key.KeyPackage))}))
		if err := f.x.MergePending(); err != nil {
			t.Fatal(err)
		}
		f.y = must(mls.JoinWelcome(helped, last, bundle.Welcome, must(f.x.RatchetTree()), key))
		return f
	}
	for i := 1; i < n; i++ {
		g, bundle, err := mls.JoinExternal(helped, newClient(fmt.Sprint("member ", i)), must(f.x.GroupInfo()), must(f.x.RatchetTree()), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.MergePending(); err != nil {
			t.Fatal(err)
		}
		f.receive(f.x, must(bundle.Commit.Bytes()))
		f.y = g
		if i < n-1 {
			f.x = g // the group goes on with the newest member
		}
	}
	return f
}

func (f *field) receive(g *mls.Group, commit []byte) {
	r := must(g.Process(must(mls.UnmarshalMessage(commit))))
	if err := g.Merge(r.Commit); err != nil {
		f.t.Fatal(err)
	}
}

func (f *field) figures(title string) {
	var commit, process, encrypt, decrypt, join, joinAlone []time.Duration
	text := bytes.Repeat([]byte("x"), 1024)
	for range 15 {
		var data []byte
		commit = append(commit, timed(1, func(int) {
			bundle := must(f.x.Commit(mls.CommitOptions{ForcePath: true}))
			data = must(bundle.Commit.Bytes())
			if err := f.x.MergePending(); err != nil {
				f.t.Fatal(err)
			}
		}))
		process = append(process, timed(1, func(int) { f.receive(f.y, data) }))
		list := make([][]byte, 20)
		encrypt = append(encrypt, timed(len(list), func(i int) { list[i] = must(must(f.x.Encrypt(nil, text)).Bytes()) }))
		decrypt = append(decrypt, timed(len(list), func(i int) { must(f.y.Process(must(mls.UnmarshalMessage(list[i])))) }))
	}
	c := newClient("joiner")
	key := newKeyPackage(c)
	bundle := must(f.x.Commit(mls.CommitOptions{Proposals: []mls.Proposal{mls.AddProposal(key.KeyPackage)}}))
	welcome, tree := must(bundle.Welcome.Bytes()), must(bundle.Staged.RatchetTree())
	for range 9 {
		for _, way := range []struct {
			cfg  mls.Config
			took *[]time.Duration
		}{{helped, &join}, {alone, &joinAlone}} {
			*way.took = append(*way.took, timed(1, func(int) { must(mls.JoinWelcome(way.cfg, c, must(mls.UnmarshalWelcome(welcome)), tree, key)) }))
		}
	}
	for _, row := range []struct {
		name string
		list []time.Duration
	}{
		{"join by Welcome", join}, {"join by Welcome, without the browser's Ed25519", joinAlone}, {"process a commit", process},
		{"self-update", commit}, {"encrypt 1 KiB", encrypt}, {"decrypt 1 KiB", decrypt},
	} {
		slices.Sort(row.list)
		f.t.Logf("kith, %s: %-46s %8.3f ms", title, row.name, float64(row.list[len(row.list)/2])/1e6)
	}
}

// timed is how long one of n runs takes.
func timed(n int, run func(i int)) time.Duration {
	start := time.Now()
	for i := range n {
		run(i)
	}
	return time.Since(start) / time.Duration(n)
}
