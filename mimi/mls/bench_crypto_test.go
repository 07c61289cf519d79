package mls

import (
	"bytes"
	"testing"
)

func BenchmarkEncrypt1KiB(b *testing.B) {
	p := newPair(b, 100)
	text := bytes.Repeat([]byte("x"), 1024)
	b.ReportAllocs()
	for b.Loop() {
		m := &Message{WireFormat: WireFormatPrivateMessage, Private: p.seal(b, 17, text)}
		if _, err := m.Bytes(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecrypt1KiB(b *testing.B) {
	p := newPair(b, 100)
	text := bytes.Repeat([]byte("x"), 1024)
	messages := make([][]byte, 500)
	for i := range messages {
		m := &Message{WireFormat: WireFormatPrivateMessage, Private: p.seal(b, 17, text)}
		messages[i], _ = m.Bytes()
	}
	secret := suite1.hash([]byte("epoch"))
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		if i%len(messages) == 0 {
			b.StopTimer()
			p.to = suite1.epochSecretsOf(bytes.Clone(secret), 100)
			b.StartTimer()
		}
		m, err := UnmarshalMessage(messages[i%len(messages)])
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.open(m.Private); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkKeyPackageVerify(b *testing.B) {
	data, err := newTestKeyPackage(b, newRandom(1)).KeyPackage.Bytes()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		k, err := UnmarshalKeyPackage(data)
		if err != nil {
			b.Fatal(err)
		}
		if err := k.verifySignatures(suite1); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnmarshalKeyPackage(b *testing.B) {
	data, err := newTestKeyPackage(b, newRandom(1)).KeyPackage.Bytes()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := UnmarshalKeyPackage(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSecretTreeMarshal(b *testing.B) {
	tree := newTestTree(200)
	for leaf := range LeafIndex(40) {
		if use, err := tree.find(leaf*5, applicationRatchet, 3); err == nil {
			use.apply()
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := marshal(tree); err != nil {
			b.Fatal(err)
		}
	}
}
