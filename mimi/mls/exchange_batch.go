package mls

// To encrypt to a member means two X25519 operations, and a path in a tree in which nobody has committed is encrypted
// to every member. A browser does that in parallel and many times as fast as WebAssembly, so that the application may
// offer to do it: Config.ExchangeX25519.
//
// What it computes is believed, because without the ephemeral private keys, which are not shown, it cannot be checked. If
// a secret is wrong, its recipient refuses the message, as any that does not decrypt. If an ephemeral key can be guessed,
// somebody else can read it: the application is trusted as the system's random generator is, which in a browser comes from
// the same hands. What is wrong at first sight is not used at all, and everything is encrypted without it.

// X25519Exchange is an exchange of a fresh ephemeral key with a recipient's public key: the public half of the former
// and the secret that they share, both as RFC 7748, Section 5 encodes them.
type X25519Exchange struct{ Ephemeral, Shared []byte }

// minExchanges is how many recipients are worth a call of the application.
const minExchanges = 4

// recipient is somebody to whom a message of their own is encrypted.
type recipient struct {
	key       HPKEPublicKey
	plaintext []byte
}

// encryptToAll is encryptWithLabel to each recipient, with the same label and context.
func (s *suite) encryptToAll(cfg *Config, to []recipient, label string, context []byte) ([]HPKECiphertext, error) {
	list := make([]HPKECiphertext, len(to))
	exchanges := s.exchangeAll(cfg, to)
	if exchanges == nil {
		for i, r := range to {
			var err error
			if list[i], err = s.encryptWithLabel(r.key, label, context, r.plaintext); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	defer clearAll(exchanges)
	info, err := labelled(labelPrefix+label, context)
	if err != nil {
		return nil, err
	}
	sender := newBaseSender(s, info)
	for i, r := range to {
		if list[i], err = sender.seal(r.key, exchanges[i], r.plaintext); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// exchangeAll asks the application for an exchange with each recipient; nil means to do without.
func (s *suite) exchangeAll(cfg *Config, to []recipient) []X25519Exchange {
	if cfg.ExchangeX25519 == nil || len(to) < minExchanges || !s.x25519 {
		return nil
	}
	keys := make([]HPKEPublicKey, len(to))
	for i, r := range to {
		if len(r.key) != x25519Size {
			return nil
		}
		keys[i] = r.key
	}
	exchanges, err := cfg.ExchangeX25519(keys)
	if err != nil || len(exchanges) != len(keys) || !plausible(exchanges) {
		clearAll(exchanges)
		return nil
	}
	return exchanges
}

// plausible reports whether exchanges have the right form and an ephemeral key each.
func plausible(exchanges []X25519Exchange) bool {
	seen := make(map[string]bool, len(exchanges))
	for _, x := range exchanges {
		// RFC 9180, Section 7.1.4: a shared secret of zero is refused; an honest key is not of small order
		if len(x.Ephemeral) != x25519Size || len(x.Shared) != x25519Size || allZero(x.Shared) || lowOrderX25519(x.Ephemeral) {
			return false
		}
		if seen[string(x.Ephemeral)] {
			return false
		}
		seen[string(x.Ephemeral)] = true
	}
	return true
}

func clearAll(exchanges []X25519Exchange) {
	for _, x := range exchanges {
		clear(x.Shared)
	}
}
