package identity

import (
	"bytes"
	"crypto/ed25519"
	encoding_asn1 "encoding/asn1"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

var (
	errSize      = errors.New("identity: certificate is too large")
	errSyntax    = errors.New("identity: malformed certificate")
	errVersion   = errors.New("identity: certificate of another version")
	errSerial    = errors.New("identity: invalid serial number of certificate")
	errAlgorithm = errors.New("identity: certificate with another algorithm than Ed25519")
	errName      = errors.New("identity: malformed name in certificate")
	errTime      = errors.New("identity: malformed time in certificate")
)

// RFC 8410, Section 3
var oidEd25519 = encoding_asn1.ObjectIdentifier{1, 3, 101, 112}

// A certificate is what RFC 5280, Section 4.1 has in a certificate, as far as the profiles need it.
type certificate struct {
	raw, tbs, signature   []byte
	issuer, subject       []byte
	notBefore, notAfter   time.Time
	publicKey             []byte
	usage                 uint16
	usageCritical         bool
	ca, caCritical        bool
	pathLen               int // -1 for none
	names                 generalNames
	constraints           *generalNames
	subjectKey, authority []byte
}

// parseCertificate reads a certificate of version 3 with Ed25519 keys, and copies what it keeps.
func parseCertificate(der []byte) (*certificate, error) {
	if len(der) > MaxCertificate {
		return nil, errSize
	}
	der = bytes.Clone(der)
	input := cryptobyte.String(der)
	c := &certificate{raw: der, pathLen: -1}
	var outer, tbs cryptobyte.String
	if !input.ReadASN1(&outer, asn1.SEQUENCE) || !input.Empty() || !outer.ReadASN1Element(&tbs, asn1.SEQUENCE) {
		return nil, errSyntax
	}
	if err := readAlgorithm(&outer); err != nil {
		return nil, err
	}
	if !outer.ReadASN1BitStringAsBytes(&c.signature) || !outer.Empty() || len(c.signature) != ed25519.SignatureSize {
		return nil, errSyntax
	}
	c.tbs = tbs
	return c, c.readTBS(tbs)
}

// readTBS reads the part of the certificate that is signed.
func (c *certificate) readTBS(s cryptobyte.String) error {
	if !s.ReadASN1(&s, asn1.SEQUENCE) {
		return errSyntax
	}
	if err := readVersionAndSerial(&s); err != nil {
		return err
	}
	if err := readAlgorithm(&s); err != nil {
		return err
	}
	var err error
	if c.issuer, err = readName(&s); err != nil {
		return err
	}
	if err := c.readValidity(&s); err != nil {
		return err
	}
	if c.subject, err = readName(&s); err != nil {
		return err
	}
	if err := c.readPublicKey(&s); err != nil {
		return err
	}
	// Unique identifiers, [1] and [2], have no place in the profile.
	var extensions cryptobyte.String
	if !s.ReadASN1(&extensions, asn1.Tag(3).ContextSpecific().Constructed()) || !s.Empty() {
		return errSyntax
	}
	return c.readExtensions(extensions)
}

func readVersionAndSerial(s *cryptobyte.String) error {
	var version cryptobyte.String
	if !s.ReadASN1(&version, asn1.Tag(0).ContextSpecific().Constructed()) {
		return errVersion
	}
	number, ok := readInteger(&version)
	if !ok || !version.Empty() || !bytes.Equal(number, []byte{2}) {
		return errVersion
	}
	// RFC 5280, Section 4.1.2.2
	serial, ok := readInteger(s)
	if !ok || len(serial) > 20 || len(bytes.Trim(serial, "\x00")) == 0 {
		return errSerial
	}
	return nil
}

// readInteger reads a number that is not negative, in DER's one form of it: no superfluous zeros. (cryptobyte's
// ReadASN1Integer would do, but links math/big and reflection into the wasm.)
func readInteger(s *cryptobyte.String) ([]byte, bool) {
	var value cryptobyte.String
	if !s.ReadASN1(&value, asn1.INTEGER) || len(value) == 0 || value[0]&0x80 != 0 {
		return nil, false
	}
	if len(value) > 1 && value[0] == 0 && value[1]&0x80 == 0 {
		return nil, false
	}
	return value, true
}

// readAlgorithm reads the algorithm identifier of Ed25519, which has no parameters.
func readAlgorithm(s *cryptobyte.String) error {
	var (
		algorithm cryptobyte.String
		oid       encoding_asn1.ObjectIdentifier
	)
	if !s.ReadASN1(&algorithm, asn1.SEQUENCE) || !algorithm.ReadASN1ObjectIdentifier(&oid) {
		return errSyntax
	}
	// RFC 8410, Section 3
	if !oid.Equal(oidEd25519) || !algorithm.Empty() {
		return errAlgorithm
	}
	return nil
}

// readName reads a name, checks its form and returns its encoding, by which names are compared.
func readName(s *cryptobyte.String) ([]byte, error) {
	var element cryptobyte.String
	if !s.ReadASN1Element(&element, asn1.SEQUENCE) {
		return nil, errName
	}
	encoded := []byte(element)
	var sequence cryptobyte.String
	if !element.ReadASN1(&sequence, asn1.SEQUENCE) {
		return nil, errName
	}
	for !sequence.Empty() {
		var set, attribute cryptobyte.String
		if !sequence.ReadASN1(&set, asn1.SET) || !set.ReadASN1(&attribute, asn1.SEQUENCE) || !set.Empty() {
			return nil, errName
		}
		if !validAttribute(attribute) {
			return nil, errName
		}
	}
	return encoded, nil
}

func validAttribute(s cryptobyte.String) bool {
	var (
		oid   encoding_asn1.ObjectIdentifier
		value cryptobyte.String
		tag   asn1.Tag
	)
	if !s.ReadASN1ObjectIdentifier(&oid) || !s.ReadAnyASN1(&value, &tag) || !s.Empty() {
		return false
	}
	// RFC 5280, Section 4.1.2.4
	switch tag {
	case asn1.UTF8String:
		return utf8.Valid(value)
	case asn1.PrintableString:
		return isPrintable(value)
	}
	return false
}

// isPrintable reports whether s is made of the characters of a PrintableString.
func isPrintable(s []byte) bool {
	for _, c := range s {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && bytes.IndexByte([]byte(" '()+,-./:=?"), c) < 0 {
			return false
		}
	}
	return true
}

func (c *certificate) readValidity(s *cryptobyte.String) (err error) {
	var validity cryptobyte.String
	if !s.ReadASN1(&validity, asn1.SEQUENCE) {
		return errTime
	}
	if c.notBefore, err = readTime(&validity); err != nil {
		return err
	}
	if c.notAfter, err = readTime(&validity); err != nil {
		return err
	}
	if !validity.Empty() || c.notAfter.Before(c.notBefore) {
		return errTime
	}
	return nil
}

// readTime reads a time in the one form RFC 5280 permits for it.
func readTime(s *cryptobyte.String) (time.Time, error) {
	var (
		value cryptobyte.String
		tag   asn1.Tag
	)
	if !s.ReadAnyASN1(&value, &tag) {
		return time.Time{}, errTime
	}
	digits := string(value)
	switch {
	case tag == asn1.UTCTime && len(digits) == len("YYMMDDHHMMSSZ"):
		// RFC 5280, Section 4.1.2.5.1
		century := "20"
		if digits[0] >= '5' {
			century = "19"
		}
		digits = century + digits
	case tag == asn1.GeneralizedTime && len(digits) == len("YYYYMMDDHHMMSSZ") && digits >= "2050":
		// RFC 5280, Section 4.1.2.5: only what UTCTime cannot express.
	default:
		return time.Time{}, errTime
	}
	return parseTime(digits)
}

// parseTime reads YYYYMMDDHHMMSSZ. A date that does not exist would be carried over and is refused.
func parseTime(digits string) (time.Time, error) {
	rest, ok := strings.CutSuffix(digits, "Z")
	var field [6]int // year, month, day, hour, minute, second
	for i := range field {
		width := 2
		if i == 0 {
			width = 4
		}
		for _, c := range []byte(rest[:width]) {
			ok = ok && c >= '0' && c <= '9'
			field[i] = field[i]*10 + int(c-'0')
		}
		rest = rest[width:]
	}
	t := time.Date(field[0], time.Month(field[1]), field[2], field[3], field[4], field[5], 0, time.UTC)
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	if !ok || [6]int{year, int(month), day, hour, minute, second} != field {
		return time.Time{}, errTime
	}
	return t, nil
}

func (c *certificate) readPublicKey(s *cryptobyte.String) error {
	var key cryptobyte.String
	if !s.ReadASN1(&key, asn1.SEQUENCE) {
		return errSyntax
	}
	if err := readAlgorithm(&key); err != nil {
		return err
	}
	// RFC 8410, Section 4
	if !key.ReadASN1BitStringAsBytes(&c.publicKey) || !key.Empty() || len(c.publicKey) != ed25519.PublicKeySize {
		return errSyntax
	}
	return nil
}
