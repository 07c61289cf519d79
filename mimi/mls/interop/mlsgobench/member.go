package main

import (
	"time"

	"github.com/thomas-vilte/mls-go/ciphersuite"
	"github.com/thomas-vilte/mls-go/framing"
	"github.com/thomas-vilte/mls-go/group"

	"kith/mimi/mls"
)

// ours is a member of this library.
type ours struct {
	*mls.Group
	client *mls.Client
}

func (m *ours) commit() []byte {
	bundle := must(m.Commit(mls.CommitOptions{ForcePath: true}))
	check(m.MergePending())
	return must(bundle.Commit.Bytes())
}

func (m *ours) receive(commit []byte) {
	r := must(m.Process(must(mls.UnmarshalMessage(commit))))
	check(m.Merge(r.Commit))
}

func (m *ours) encrypt(text []byte) []byte { return must(must(m.Encrypt(nil, text)).Bytes()) }

func (m *ours) decrypt(message []byte) []byte {
	return must(m.Process(must(mls.UnmarshalMessage(message)))).Application
}

func (m *ours) samples(r *row) *[]time.Duration { return &r.ours }

// infoWithTree is the GroupInfo of the current epoch with the ratchet tree in it, which the other library requires.
//
// RFC 9420, Section 12.4.3: it is signed with all its extensions
func (m *ours) infoWithTree() []byte {
	gi := must(m.GroupInfo())
	gi.Extensions = append(gi.Extensions, mls.Extension{Type: mls.ExtensionRatchetTree, Data: must(m.RatchetTree())})
	gi.Signature = nil
	unsigned := must(gi.Bytes())
	unsigned = unsigned[:len(unsigned)-1] // without the empty signature
	gi.Signature = must(m.client.SignatureKey.SignWithLabel("GroupInfoTBS", unsigned))
	return must(gi.Bytes())
}

// peer is a member of the other library.
type peer struct {
	*group.Group
	key *ciphersuite.SignaturePrivateKey
}

func (p *peer) commit() []byte {
	staged := must(p.Commit(p.key, p.key.PublicKey(), nil))
	check(p.MergeCommit(staged))
	return octets(staged)
}

func (p *peer) receive(commit []byte) {
	public, ok := must(framing.UnmarshalMLSMessage(commit)).AsPublic()
	if !ok {
		panic("not a PublicMessage")
	}
	check(p.ProcessPublicMessage(public))
}

func (p *peer) encrypt(text []byte) []byte {
	return framing.NewMLSMessagePrivate(must(p.SendMessage(text, p.key))).Marshal()
}

func (p *peer) decrypt(message []byte) []byte {
	private, ok := must(framing.UnmarshalMLSMessage(message)).AsPrivate()
	if !ok {
		panic("not a PrivateMessage")
	}
	text, _, _, err := p.ReceiveApplicationMessage(private)
	check(err)
	return text
}

func (p *peer) samples(r *row) *[]time.Duration { return &r.theirs }
