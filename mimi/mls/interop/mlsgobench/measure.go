package main

import (
	"bytes"
	"time"

	"github.com/thomas-vilte/mls-go/group"
	"github.com/thomas-vilte/mls-go/keypackages"

	"kith/mimi/mls"
)

// timed adds the CPU time of run to the measurements of a member's library.
func (r *row) timed(m member, run func()) {
	list := m.samples(r)
	*list = append(*list, cpu(run))
}

// commits measures a commit with a path, its epoch entered, and its receipt.
func (f *field) commits() {
	var commit, process row
	for range *rounds {
		for _, turn := range f.turns() {
			var data []byte
			commit.timed(turn.sender, func() { data = turn.sender.commit() })
			for _, m := range turn.receivers {
				process.timed(m, func() { m.receive(data) })
			}
		}
	}
	commit.print("commit, path")
	process.print("process a commit")
}

// turn is a sender with those who receive from it.
type turn struct {
	sender    member
	receivers []member
}

func (f *field) turns() []turn {
	return []turn{{f.sender, f.of}, {f.theirs, f.ofTheirs}}
}

// messages measures an application message of 1 KiB, a hundred at a time because one is short.
func (f *field) messages() {
	const batch = 100
	var encrypt, decrypt row
	text := bytes.Repeat([]byte("x"), 1024)
	for range *rounds {
		for _, turn := range f.turns() {
			list := make([][]byte, batch)
			encrypt.timed(turn.sender, func() {
				for i := range list {
					list[i] = turn.sender.encrypt(text)
				}
			})
			for _, m := range turn.receivers {
				decrypt.timed(m, func() {
					for _, data := range list {
						if !bytes.Equal(m.decrypt(data), text) {
							panic("another text")
						}
					}
				})
			}
		}
	}
	for _, r := range []*row{&encrypt, &decrypt} {
		for _, list := range [][]time.Duration{r.ours, r.theirs} {
			for i := range list {
				list[i] /= batch
			}
		}
	}
	encrypt.print("encrypt 1 KiB")
	decrypt.print("decrypt 1 KiB")
}

// externalJoins measures an external commit of a newcomer, from the octets of a GroupInfo with its tree.
func (f *field) externalJoins() {
	var external row
	info := f.sender.infoWithTree()
	client, other := newClient("newcomer"), newTheirs("newcomer")
	for range *rounds {
		external.ours = append(external.ours, cpu(func() {
			gi := must(mls.UnmarshalGroupInfo(info))
			_, bundle, err := mls.JoinExternal(config, client, gi, nil, nil, nil)
			check(err)
			must(bundle.Commit.Bytes())
		}))
		external.theirs = append(external.theirs, cpu(func() {
			gi := must(group.UnmarshalGroupInfo(info))
			_, staged, err := group.ExternalCommit(gi, theirSuite, other.key, other.key.PublicKey(), nil, other.credential.Credential)
			check(err)
			octets(staged)
		}))
	}
	external.print("external join")
}

// joins measures a join by one Welcome of the other library, which carries the tree, by a newcomer of each.
func (f *field) joins() {
	var join row
	client, other := newInvited("joiner"), newTheirs("joiner")
	welcome := f.theirs.add([]*keypackages.KeyPackage{theirs(client.key.KeyPackage), other.kp})
	for range *rounds {
		join.ours = append(join.ours, cpu(func() { client.join(welcome) }))
		join.theirs = append(join.theirs, cpu(func() { other.join(welcome) }))
	}
	join.print("join by Welcome")
}
