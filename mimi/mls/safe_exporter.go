package mls

import (
	"bytes"
	"errors"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// exporterLeaves is the width of an exporter tree: a leaf for each ComponentID.
const exporterLeaves = 1 << 16

// newExporterTree takes application_export_secret over. An exporter tree has the form of a secret tree, but no
// ratchets: the secret of a leaf is what is exported.
//
// draft-ietf-mls-extensions, Section 4.4
func newExporterTree(s *suite, applicationExportSecret []byte) *secretTree {
	return newSecretTree(s, applicationExportSecret, exporterLeaves)
}

// ErrExported is returned by SafeExportSecret for a component that had its secret of the epoch before.
var ErrExported = errors.New("mls: secret of the component was exported before")

// exportSecret takes the secret of one leaf of an exporter tree and deletes everything from which it can be derived.
//
// RFC 9420, Section 9.2
func (t *secretTree) exportSecret(id ComponentID) ([]byte, error) {
	if t == nil {
		return nil, errors.New("mls: epoch has no exporter tree")
	}
	secret, s, err := t.descend(uint32(id))
	if err == errNoLeaf {
		return nil, ErrExported
	}
	if err != nil {
		return nil, err
	}
	out := bytes.Clone(secret)
	clear(secret)
	t.split(s)
	return out, nil
}

// SafeExportSecret is the secret that the current epoch has for a component, once: then it is deleted, here and, as soon
// as the caller saves State, in what is stored. The secrets of an epoch go with it.
//
// draft-ietf-mls-extensions, Section 4.4
func (g *Group) SafeExportSecret(id ComponentID) ([]byte, error) {
	if g.out {
		return nil, ErrInactive
	}
	return g.secrets.exports.exportSecret(id)
}

// SafeExportSecret is the secret that the epoch after the commit will have for a component, before the commit is
// merged. It counts: the Group will not give it again. After a restart a received commit is staged anew, with all its
// secrets; a pending one of our own is part of State.
//
// draft-ietf-mls-extensions, Section 4.4
func (s *StagedCommit) SafeExportSecret(id ComponentID) ([]byte, error) {
	if s.member == nil {
		return nil, ErrInactive
	}
	return s.member.secrets.exports.exportSecret(id)
}

// addExports writes an exporter tree: the nodes that are left of it.
func addExports(b *cryptobyte.Builder, t *secretTree) {
	syntax.AddOptional(b, t != nil)
	if t != nil {
		b.AddValue(t)
	}
}

func readExports(s *cryptobyte.String, suite *suite) (*secretTree, error) {
	var present bool
	if !syntax.ReadOptional(s, &present) {
		return nil, errState
	}
	if !present {
		return nil, nil
	}
	t, err := suite.unmarshalSecretTree(s)
	if err != nil {
		return nil, err
	}
	if t.width != exporterLeaves || len(t.leafs) > 0 {
		return nil, errState
	}
	return t, nil
}
