// Command exchange uses crypto/ecdh for X25519 alone.
package main

import (
	"crypto/ecdh"
	"crypto/rand"
	"fmt"
)

func main() {
	a, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	secret, err := a.ECDH(a.PublicKey())
	fmt.Println(len(secret), err)
}
