//go:build js && wasm

package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha512"
	"fmt"
	"math/big"
	"slices"
	"testing"

	"kith/web/client"
)

// The browser must not confirm what crypto/ed25519 refuses; where it refuses more, mls verifies itself. Run this in a
// browser: web/browsertest does.
func TestVerifyEd25519(t *testing.T) {
	var valid []client.SignatureCheck
	for i := range 50 {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		message := fmt.Append(nil, "message ", i)
		valid = append(valid, client.SignatureCheck{PublicKey: public, Message: message, Signature: ed25519.Sign(private, message)})
	}
	if err := verifyEd25519(valid); err != nil {
		t.Fatalf("valid signatures: %v", err)
	}
	if err := verifyEd25519(nil); err != nil {
		t.Errorf("no signatures: %v", err)
	}
	for name, damage := range map[string]func(c *client.SignatureCheck){
		"key":             func(c *client.SignatureCheck) { c.PublicKey[3] ^= 1 },
		"message":         func(c *client.SignatureCheck) { c.Message[3] ^= 1 },
		"point":           func(c *client.SignatureCheck) { c.Signature[3] ^= 1 },
		"scalar":          func(c *client.SignatureCheck) { c.Signature[35] ^= 1 },
		"short key":       func(c *client.SignatureCheck) { c.PublicKey = c.PublicKey[:31] },
		"short signature": func(c *client.SignatureCheck) { c.Signature = c.Signature[:63] },
		"no signature":    func(c *client.SignatureCheck) { c.Signature = nil },
	} {
		list := slices.Clone(valid)
		c := &list[17]
		*c = client.SignatureCheck{PublicKey: slices.Clone(c.PublicKey), Message: slices.Clone(c.Message), Signature: slices.Clone(c.Signature)}
		damage(c)
		if verifyEd25519(list) == nil {
			t.Errorf("confirmed with another %s", name)
		}
	}
}

// A signer who knows the private key can make signatures that only the equation with the cofactor accepts: with a
// point of order eight added to the key or to the signature. Ours is the one without, and the browser's must be, too.
func TestVerifyWithoutCofactor(t *testing.T) {
	accepted, refused := 0, 0
	for i := range 40 {
		c := mixedOrder(t, i, i%2 == 0)
		ours := ed25519.Verify(c.PublicKey, c.Message, c.Signature)
		if theirs := verifyEd25519([]client.SignatureCheck{c}) == nil; theirs != ours {
			t.Errorf("signature %d: the browser says %v, crypto/ed25519 %v", i, theirs, ours)
		}
		if ours {
			accepted++
		} else {
			refused++
		}
	}
	if accepted == 0 || refused == 0 {
		t.Errorf("%d accepted and %d refused: both cases must occur", accepted, refused)
	}
	t.Logf("%d accepted, %d refused", accepted, refused)
}

// mixedOrder makes a signature under a key with a part of order eight, or one whose point has such a part.
func mixedOrder(t *testing.T, i int, inKey bool) client.SignatureCheck {
	t.Helper()
	a, r := big.NewInt(int64(1000+i)), big.NewInt(int64(77777+i))
	key, point := base.times(a), base.times(r)
	if inKey {
		key = key.plus(orderEight)
	} else {
		point = point.plus(orderEight)
	}
	message := fmt.Append(nil, "mixed ", i)
	hash := sha512.Sum512(slices.Concat(point.bytes(), key.bytes(), message))
	k := new(big.Int).Mod(little(hash[:]), order)
	s := new(big.Int).Mod(k.Add(k.Mul(k, a), r), order)
	return client.SignatureCheck{PublicKey: key.bytes(), Message: message, Signature: append(point.bytes(), octets(s)...)}
}

// What follows is edwards25519 with big numbers, for the test only (RFC 8032, Section 5.1).
type point struct{ x, y *big.Int }

var (
	prime      = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	order      = number("7237005577332262213973186563042994240857116359379907606001950938285454250989")
	curve      = number("37095705934669439343138083508754565189542113879843219016388785533085940283555")
	base       = point{number("15112221349535400772501151409588531511454012693041857206046113283949847762202"), number("46316835694926478169428394003475163141307993866256225615783033603165251855960")}
	orderEight = eighth()
)

func number(text string) *big.Int {
	n, ok := new(big.Int).SetString(text, 10)
	if !ok {
		panic(text)
	}
	return n
}

// eighth is a point of order eight: x² = (y²-1)/(dy²+1).
func eighth() point {
	y := little([]byte("\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0\xd5\xdf\xac\x05\xd3\xc6\x33\x39\xb1\x38\x02\x88\x6d\x53\xfc\x05"))
	one, square := big.NewInt(1), new(big.Int).Mul(y, y)
	below := new(big.Int).Mul(curve, square)
	below.ModInverse(below.Add(below, one), prime)
	square.Mod(square.Mul(square.Sub(square, one), below), prime)
	return point{new(big.Int).ModSqrt(square, prime), y}
}

func (p point) plus(q point) point {
	mul := func(a, b *big.Int) *big.Int { c := new(big.Int).Mul(a, b); return c.Mod(c, prime) }
	inverse := func(a *big.Int) *big.Int { return new(big.Int).ModInverse(a.Mod(a, prime), prime) }
	one := big.NewInt(1)
	d := mul(curve, mul(mul(p.x, q.x), mul(p.y, q.y)))
	x := mul(new(big.Int).Add(mul(p.x, q.y), mul(p.y, q.x)), inverse(new(big.Int).Add(one, d)))
	y := mul(new(big.Int).Add(mul(p.y, q.y), mul(p.x, q.x)), inverse(new(big.Int).Sub(one, d)))
	return point{x, y}
}

func (p point) times(n *big.Int) point {
	sum := point{big.NewInt(0), big.NewInt(1)}
	for i := n.BitLen() - 1; i >= 0; i-- {
		if sum = sum.plus(sum); n.Bit(i) == 1 {
			sum = sum.plus(p)
		}
	}
	return sum
}

func (p point) bytes() []byte {
	out := octets(p.y)
	out[31] |= byte(p.x.Bit(0)) << 7
	return out
}

// octets encodes a number, least significant octet first; little decodes it.
func octets(n *big.Int) []byte {
	out := n.FillBytes(make([]byte, 32))
	slices.Reverse(out)
	return out
}

func little(data []byte) *big.Int {
	data = slices.Clone(data)
	slices.Reverse(data)
	return new(big.Int).SetBytes(data)
}
