package mls

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// checkAllocation verifies that decoding n octets allocates in proportion to them. Others in the process allocate, too:
// the least of a few attempts counts.
func checkAllocation(t testing.TB, n int, decode func()) {
	t.Helper()
	limit := 64*uint64(n) + 64<<10
	least := allocated(decode)
	for range 3 {
		if least <= limit {
			return
		}
		least = min(least, allocated(decode))
	}
	t.Errorf("%d octets of input allocate %d", n, least)
}

// fuzzDecoder checks the properties of every decoder: it allocates in proportion to its input, and what parses
// re-encodes to the same octets.
func fuzzDecoder(f *testing.F, name string) {
	r := newRandom(44)
	for range 20 {
		data, err := marshal(r.value(f, name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var again []byte
		var err error
		checkAllocation(t, len(data), func() { again, err = decode(name, data) })
		if err == nil && !bytes.Equal(again, data) {
			t.Fatalf("%x re-encodes to %x", data, again)
		}
	})
}

func FuzzMessage(f *testing.F)              { fuzzDecoder(f, "Message") }
func FuzzKeyPackage(f *testing.F)           { fuzzDecoder(f, "KeyPackage") }
func FuzzLeafNode(f *testing.F)             { fuzzDecoder(f, "LeafNode") }
func FuzzProposal(f *testing.F)             { fuzzDecoder(f, "Proposal") }
func FuzzCommit(f *testing.F)               { fuzzDecoder(f, "Commit") }
func FuzzWelcome(f *testing.F)              { fuzzDecoder(f, "Welcome") }
func FuzzGroupInfo(f *testing.F)            { fuzzDecoder(f, "GroupInfo") }
func FuzzGroupContext(f *testing.F)         { fuzzDecoder(f, "GroupContext") }
func FuzzGroupSecrets(f *testing.F)         { fuzzDecoder(f, "GroupSecrets") }
func FuzzAuthenticatedContent(f *testing.F) { fuzzDecoder(f, "AuthenticatedContent") }
func FuzzCredential(f *testing.F)           { fuzzDecoder(f, "Credential") }
func FuzzExtensions(f *testing.F)           { fuzzDecoder(f, "Extensions") }
func FuzzAppDataDictionary(f *testing.F)    { fuzzDecoder(f, "AppDataDictionary") }
func FuzzRequiredCapabilities(f *testing.F) { fuzzDecoder(f, "RequiredCapabilities") }
func FuzzExternalSender(f *testing.F)       { fuzzDecoder(f, "ExternalSender") }
func FuzzSafeAAD(f *testing.F)              { fuzzDecoder(f, "SafeAAD") }
func FuzzApplicationFraming(f *testing.F)   { fuzzDecoder(f, "ApplicationFraming") }
func FuzzAppAck(f *testing.F)               { fuzzDecoder(f, "AppAck") }
func FuzzWireFormats(f *testing.F)          { fuzzDecoder(f, "WireFormats") }
func FuzzComponentsList(f *testing.F)       { fuzzDecoder(f, "ComponentsList") }
func FuzzMediaTypeList(f *testing.F)        { fuzzDecoder(f, "MediaTypeList") }
func FuzzExternalSenders(f *testing.F)      { fuzzDecoder(f, "ExternalSenders") }
func FuzzSecretTree(f *testing.F)           { fuzzDecoder(f, "SecretTree") }
func FuzzEpochSecrets(f *testing.F)         { fuzzDecoder(f, "EpochSecrets") }
func FuzzKeyPackageSecrets(f *testing.F)    { fuzzDecoder(f, "KeyPackageSecrets") }
func FuzzKeyPackages(f *testing.F)          { fuzzDecoder(f, "KeyPackages") }
func FuzzPreSharedKeyID(f *testing.F)       { fuzzDecoder(f, "PreSharedKeyID") }

// fuzzedElsewhere are the decoders with a target of another name.
var fuzzedElsewhere = map[string]string{
	"RestoreGroup":       "FuzzRestoreGroup",
	"RestorePublicGroup": "FuzzRestorePublicGroup",
}

// Every exported function that decodes is fuzzed.
func TestEveryDecoderIsFuzzed(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Skipf("the sources are not here: %v", err)
	}
	targets, found := map[string]bool{}, map[string]bool{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			switch {
			case !ok || f.Recv != nil:
			case strings.HasPrefix(f.Name.Name, "Fuzz"):
				targets[f.Name.Name] = true
			case strings.HasPrefix(f.Name.Name, "Unmarshal") || strings.HasPrefix(f.Name.Name, "Restore"):
				found[f.Name.Name] = true
			}
		}
	}
	for name := range found {
		target := fuzzedElsewhere[name]
		if target == "" {
			target = "Fuzz" + strings.TrimPrefix(name, "Unmarshal")
		}
		if !targets[target] {
			t.Errorf("%s has no target %s", name, target)
		}
	}
	if len(found) < 12 {
		t.Errorf("only %d decoders found", len(found))
	}
}

func FuzzMultiCredential(f *testing.F) {
	r := newRandom(45)
	for _, names := range [][]string{{"a"}, {"a", "b"}} {
		f.Add(multiClient(f, r, false, map[string]CipherSuite{"a": 1, "b": 1}, names...).Credential.Opaque)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := UnmarshalMultiCredential(Credential{Type: CredentialMulti, Opaque: data})
		if err != nil {
			return
		}
		if c, err := m.Credential(false); err != nil || !bytes.Equal(c.Opaque, data) {
			t.Fatalf("%x re-encodes to %x, %v", data, c.Opaque, err)
		}
	})
}
