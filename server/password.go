package server

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"
)

const (
	maxPasswordMemory = 32 << 10 // KiB
	passwordTime      = 2
	passwordLanes     = 1
	passwordSalt      = 16
	passwordKey       = 32
	passwordsAtOnce   = 2
	giveBackAfter     = 5 * time.Second
)

var errPasswordForm = errors.New("server: stored password has an unknown form")

// passwords computes argon2id, few at a time: memory stays bounded however many people sign in.
type passwords struct {
	memory uint32
	rand   io.Reader
	slots  chan struct{}
	idle   *time.Timer // gives the memory back when nobody has signed in for a while
	dummy  string      // what an unknown username is checked against, so that it takes as long as a known one
}

func newPasswords(memory uint32, rand io.Reader) (*passwords, error) {
	p := &passwords{memory: memory, rand: rand, slots: make(chan struct{}, passwordsAtOnce)}
	p.idle = time.AfterFunc(time.Hour, debug.FreeOSMemory)
	p.idle.Stop()
	random := make([]byte, passwordSalt+passwordKey)
	if _, err := io.ReadFull(rand, random); err != nil {
		return nil, err
	}
	p.dummy = p.encode(random[:passwordSalt], random[passwordSalt:])
	return p, nil
}

// close stops what waits to run.
func (p *passwords) close() { p.idle.Stop() }

func (p *passwords) compute(ctx context.Context, password string, salt []byte, passes, memory uint32, lanes uint8, length uint32) ([]byte, error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-p.slots; p.idle.Reset(giveBackAfter) }()
	return argon2.IDKey([]byte(password), salt, passes, memory, lanes, length), nil
}

// hash returns the PHC string to store for a password.
func (p *passwords) hash(ctx context.Context, password string) (string, error) {
	salt := make([]byte, passwordSalt)
	if _, err := io.ReadFull(p.rand, salt); err != nil {
		return "", err
	}
	key, err := p.compute(ctx, password, salt, passwordTime, p.memory, passwordLanes, passwordKey)
	if err != nil {
		return "", err
	}
	return p.encode(salt, key), nil
}

func (p *passwords) encode(salt, key []byte) string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.memory, passwordTime, passwordLanes,
		b64.EncodeToString(salt), b64.EncodeToString(key))
}

// verify reports whether password is the one that stored was made from. Without a stored one it takes as long and says no.
func (p *passwords) verify(ctx context.Context, stored, password string) (bool, error) {
	known := stored != ""
	if !known {
		stored = p.dummy
	}
	parts := strings.Split(stored, "$")
	if len(parts) != 6 || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return false, errPasswordForm
	}
	var memory, passes uint32
	var lanes uint8
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &passes, &lanes); err != nil {
		return false, errPasswordForm
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	want, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || memory > maxPasswordMemory || passes < 1 || passes > 8 || lanes < 1 || len(want) == 0 || len(want) > 64 {
		return false, errPasswordForm
	}
	got, err := p.compute(ctx, password, salt, passes, memory, lanes, uint32(len(want)))
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(got, want) == 1 && known, nil
}
