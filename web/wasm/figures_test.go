//go:build js && wasm

package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"syscall/js"
	"testing"

	"kith/mimi/mls"
)

// TestEngineFigures is no test: in the worker of web/browsertest's figures it puts MLS at the worker's disposal as
//
//	kithFigures.setup(members int, populated bool) → Promise
//	kithFigures.run(operation string, count int) → Promise
//
// and says so by kithReady(). It ends with its worker.
func TestEngineFigures(t *testing.T) {
	if os.Getenv("KITH_FIGURES") == "" {
		t.Skip("figures are measured on request, by web/browsertest: KITH_FIGURES=1")
	}
	var f *field
	figures := js.Global().Get("Object").New()
	figures.Set("setup", js.FuncOf(func(_ js.Value, args []js.Value) any {
		return promise(func() (any, error) {
			f = newField(args[0].Int(), args[1].Bool())
			return nil, nil
		})
	}))
	figures.Set("run", js.FuncOf(func(_ js.Value, args []js.Value) any {
		return promise(func() (any, error) {
			for range args[1].Int() {
				f.operation(args[0].String())
			}
			return nil, nil
		})
	}))
	js.Global().Set("kithFigures", figures)
	js.Global().Call("kithReady")
	select {}
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
	alone   = mls.Config{Application: application{}}
	helped  = mls.Config{Application: application{}, VerifyEd25519: verifyEd25519, ExchangeX25519: helpful.exchangeX25519}
	helpful = new(exchanger)
)

func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
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

// field is a group of which two members are there.
type field struct {
	x, y              *mls.Group
	commits, messages [][]byte // on their way from x to y

	joiner        *mls.Client
	key           *mls.KeyPackageSecrets
	welcome, tree []byte
}

// newField makes a group of n. In a populated tree all have sent a path, in a fresh one they have just been added.
func newField(n int, populated bool) *field {
	f := &field{x: must(mls.NewGroup(helped, newClient("founder"), []byte("figures"), nil))}
	if populated {
		f.joinAll(n)
	} else {
		f.addAll(n)
	}
	f.invite()
	return f
}

func (f *field) joinAll(n int) {
	for i := 1; i < n; i++ {
		g, bundle, err := mls.JoinExternal(helped, newClient(fmt.Sprint("member ", i)), must(f.x.GroupInfo()), must(f.x.RatchetTree()), nil, nil)
		check(err)
		check(g.MergePending())
		receive(f.x, must(bundle.Commit.Bytes()))
		if f.y = g; i < n-1 {
			f.x = g // the newest member takes over
		}
	}
}

func (f *field) addAll(n int) {
	var adds []mls.Proposal
	for i := range n - 2 {
		adds = append(adds, mls.AddProposal(newKeyPackage(newClient(fmt.Sprint("member ", i))).KeyPackage))
	}
	last := newClient("last")
	key := newKeyPackage(last)
	bundle := must(f.x.Commit(mls.CommitOptions{Proposals: append(adds, mls.AddProposal(key.KeyPackage))}))
	check(f.x.MergePending())
	f.y = must(mls.JoinWelcome(helped, last, bundle.Welcome, must(f.x.RatchetTree()), key))
}

// invite makes a Welcome for a newcomer of a commit that is then forgotten.
func (f *field) invite() {
	f.joiner = newClient("joiner")
	f.key = newKeyPackage(f.joiner)
	bundle := must(f.x.Commit(mls.CommitOptions{Proposals: []mls.Proposal{mls.AddProposal(f.key.KeyPackage)}}))
	f.welcome, f.tree = must(bundle.Welcome.Bytes()), must(bundle.Staged.RatchetTree())
	f.x.DiscardPending()
}

func receive(g *mls.Group, commit []byte) {
	check(g.Merge(must(g.Process(must(mls.UnmarshalMessage(commit)))).Commit))
}

var text = bytes.Repeat([]byte("x"), 1024)

func (f *field) operation(name string) {
	switch name {
	case "commit":
		bundle := must(f.x.Commit(mls.CommitOptions{ForcePath: true}))
		check(f.x.MergePending())
		f.commits = append(f.commits, must(bundle.Commit.Bytes()))
	case "process":
		receive(f.y, f.commits[0])
		f.commits = f.commits[1:]
	case "encrypt":
		f.messages = append(f.messages, must(must(f.x.Encrypt(nil, text)).Bytes()))
	case "decrypt":
		must(f.y.Process(must(mls.UnmarshalMessage(f.messages[0]))))
		f.messages = f.messages[1:]
	case "join":
		f.join(helped)
	case "join alone":
		f.join(alone)
	default:
		panic(name)
	}
}

func (f *field) join(cfg mls.Config) {
	must(mls.JoinWelcome(cfg, f.joiner, must(mls.UnmarshalWelcome(f.welcome)), f.tree, f.key))
}
