package mls

import (
	"bytes"
	"testing"
)

// fuzzDecoder checks the property of every decoder: what parses re-encodes to the same octets.
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
		again, err := decode(name, data)
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
