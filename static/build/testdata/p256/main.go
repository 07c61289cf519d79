// Command p256 prints the generator of P-256, for which it multiplies it.
package main

import (
	"crypto/ecdh"
	"fmt"
)

func main() {
	one := make([]byte, 32)
	one[31] = 1
	key, err := ecdh.P256().NewPrivateKey(one)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%x\n", key.PublicKey().Bytes())
}
