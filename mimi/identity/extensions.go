package identity

import (
	encoding_asn1 "encoding/asn1"
	"errors"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

var (
	errExtension = errors.New("identity: malformed extension in certificate")
	errTwice     = errors.New("identity: extension twice in certificate")
	errCritical  = errors.New("identity: unknown critical extension in certificate")
	errOutside   = errors.New("identity: extension in certificate that its profile does not have")
)

// The extensions of RFC 5280, Section 4.2.1, by the last number of their identifiers under 2.5.29.
const (
	extSubjectKey       = 14
	extKeyUsage         = 15
	extSubjectAltName   = 17
	extBasicConstraints = 19
	extNameConstraints  = 30
	extCRLPoints        = 31
	extPolicies         = 32
	extPolicyMappings   = 33
	extAuthorityKey     = 35
	extPolicyConstraint = 36
	extExtKeyUsage      = 37
	extAnyPolicy        = 54
)

// The bits of a key usage.
const (
	usageDigitalSignature = 1 << 0
	usageCertSign         = 1 << 5
	usageCRLSign          = 1 << 6
)

var (
	oidCertificateExtension = encoding_asn1.ObjectIdentifier{2, 5, 29}
	// RFC 5280, Section 4.2.2.1
	oidAuthorityAccess = encoding_asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 1}
)

// generalNames are the names of the two kinds the profiles have.
type generalNames struct{ dns, uris []string }

// readExtensions reads what is in the field extensions.
func (c *certificate) readExtensions(s cryptobyte.String) error {
	var list cryptobyte.String
	if !s.ReadASN1(&list, asn1.SEQUENCE) || !s.Empty() || list.Empty() {
		return errExtension
	}
	seen := map[string]bool{}
	for !list.Empty() {
		var (
			extension, value cryptobyte.String
			oid              encoding_asn1.ObjectIdentifier
			critical         bool
		)
		if !list.ReadASN1(&extension, asn1.SEQUENCE) || !extension.ReadASN1ObjectIdentifier(&oid) {
			return errExtension
		}
		// DER: false is the default and therefore absent.
		if extension.PeekASN1Tag(asn1.BOOLEAN) && (!extension.ReadASN1Boolean(&critical) || !critical) {
			return errExtension
		}
		if !extension.ReadASN1(&value, asn1.OCTET_STRING) || !extension.Empty() {
			return errExtension
		}
		// RFC 5280, Section 4.2
		if seen[oid.String()] {
			return errTwice
		}
		seen[oid.String()] = true
		if err := c.readExtension(oid, critical, value); err != nil {
			return err
		}
	}
	return nil
}

func (c *certificate) readExtension(oid encoding_asn1.ObjectIdentifier, critical bool, value cryptobyte.String) error {
	ok := true
	switch number := extensionNumber(oid); number {
	case extKeyUsage:
		c.usageCritical = critical
		c.usage, ok = readKeyUsage(value)
	case extBasicConstraints:
		c.caCritical = critical
		ok = c.readBasicConstraints(value)
	case extSubjectAltName:
		ok = readAltNames(value, &c.names)
	case extNameConstraints:
		// RFC 5280, Section 4.2.1.10
		ok = critical && c.readNameConstraints(value)
	case extSubjectKey:
		ok = !critical && readOctets(value, asn1.OCTET_STRING, &c.subjectKey)
	case extAuthorityKey:
		ok = !critical && c.readAuthorityKey(value)
	case extCRLPoints, extPolicyMappings, extPolicyConstraint, extAnyPolicy:
		return errOutside
	default:
		// RFC 5280, Section 4.2. What is listed here has no meaning in the profile, but has to be well-formed.
		if critical {
			return errCritical
		}
		ok = wellFormed(number, oid, value)
	}
	if !ok {
		return errExtension
	}
	return nil
}

// extensionNumber returns the last number of an identifier under 2.5.29, and -1 for others.
func extensionNumber(oid encoding_asn1.ObjectIdentifier) int {
	if len(oid) != 4 || !oid[:3].Equal(oidCertificateExtension) {
		return -1
	}
	return oid[3]
}

// wellFormed checks the form of extensions that are ignored, as far as others would refuse the certificate for it.
func wellFormed(number int, oid encoding_asn1.ObjectIdentifier, value cryptobyte.String) bool {
	switch {
	case number == extExtKeyUsage:
		return validUsages(value)
	case number == extPolicies:
		return validDescriptions(value, true)
	case oid.Equal(oidAuthorityAccess):
		return validDescriptions(value, false)
	}
	return true
}

// validUsages checks a sequence of object identifiers.
func validUsages(value cryptobyte.String) bool {
	var list cryptobyte.String
	ok := value.ReadASN1(&list, asn1.SEQUENCE) && value.Empty() && !list.Empty()
	for ok && !list.Empty() {
		var oid encoding_asn1.ObjectIdentifier
		ok = list.ReadASN1ObjectIdentifier(&oid)
	}
	return ok
}

// validDescriptions checks a sequence of sequences that begin with an object identifier.
func validDescriptions(value cryptobyte.String, unique bool) bool {
	var list cryptobyte.String
	seen := map[string]bool{}
	ok := value.ReadASN1(&list, asn1.SEQUENCE) && value.Empty() && !list.Empty()
	for ok && !list.Empty() {
		var item cryptobyte.String
		var oid encoding_asn1.ObjectIdentifier
		ok = list.ReadASN1(&item, asn1.SEQUENCE) && item.ReadASN1ObjectIdentifier(&oid) && !(unique && seen[oid.String()])
		seen[oid.String()] = true
		for ok && !item.Empty() {
			var element cryptobyte.String
			var tag asn1.Tag
			ok = item.ReadAnyASN1Element(&element, &tag)
		}
	}
	return ok
}

// readKeyUsage reads a named bit list, which in DER has no trailing zeros, and numbers bits from the left.
func readKeyUsage(s cryptobyte.String) (usage uint16, ok bool) {
	var bits encoding_asn1.BitString
	if !s.ReadASN1BitString(&bits) || !s.Empty() || bits.BitLength == 0 || bits.BitLength > 9 {
		return 0, false
	}
	for i := range bits.BitLength {
		usage |= uint16(bits.At(i)) << i
	}
	return usage, bits.At(bits.BitLength-1) == 1
}

func (c *certificate) readBasicConstraints(s cryptobyte.String) bool {
	var constraints cryptobyte.String
	if !s.ReadASN1(&constraints, asn1.SEQUENCE) || !s.Empty() {
		return false
	}
	if constraints.Empty() {
		return true
	}
	// DER: false is the default and therefore absent. RFC 5280, Section 4.2.1.9: no length without CA.
	if !constraints.ReadASN1Boolean(&c.ca) || !c.ca {
		return false
	}
	if constraints.Empty() {
		return true
	}
	length, ok := readInteger(&constraints)
	if !ok || len(length) > 1 || !constraints.Empty() {
		return false
	}
	c.pathLen = int(length[0])
	return true
}

// readAltNames reads a subjectAltName; it may hold DNS names and URIs.
func readAltNames(s cryptobyte.String, names *generalNames) bool {
	var list cryptobyte.String
	if !s.ReadASN1(&list, asn1.SEQUENCE) || !s.Empty() || list.Empty() {
		return false
	}
	for !list.Empty() {
		if !readGeneralName(&list, names) {
			return false
		}
	}
	return true
}

func readGeneralName(s *cryptobyte.String, names *generalNames) bool {
	var (
		value cryptobyte.String
		tag   asn1.Tag
	)
	if !s.ReadAnyASN1(&value, &tag) {
		return false
	}
	// RFC 5280, Section 4.2.1.6. That the octets are ASCII follows from their being identifiers.
	switch tag {
	case asn1.Tag(2).ContextSpecific():
		names.dns = append(names.dns, string(value))
	case asn1.Tag(6).ContextSpecific():
		names.uris = append(names.uris, string(value))
	default:
		return false
	}
	return true
}

// readNameConstraints reads permitted subtrees; the profile has no excluded ones.
func (c *certificate) readNameConstraints(s cryptobyte.String) bool {
	var constraints, permitted cryptobyte.String
	if !s.ReadASN1(&constraints, asn1.SEQUENCE) || !s.Empty() ||
		!constraints.ReadASN1(&permitted, asn1.Tag(0).ContextSpecific().Constructed()) || !constraints.Empty() {
		return false
	}
	c.constraints = new(generalNames)
	for !permitted.Empty() {
		var subtree cryptobyte.String
		// RFC 5280, Section 4.2.1.10: minimum and maximum are not used.
		if !permitted.ReadASN1(&subtree, asn1.SEQUENCE) || !readGeneralName(&subtree, c.constraints) || !subtree.Empty() {
			return false
		}
	}
	return true
}

func (c *certificate) readAuthorityKey(s cryptobyte.String) bool {
	var sequence cryptobyte.String
	if !s.ReadASN1(&sequence, asn1.SEQUENCE) || !s.Empty() {
		return false
	}
	return readOctets(sequence, asn1.Tag(0).ContextSpecific(), &c.authority)
}

// readOctets reads a single element.
func readOctets(s cryptobyte.String, tag asn1.Tag, out *[]byte) bool {
	var value cryptobyte.String
	ok := s.ReadASN1(&value, tag) && s.Empty()
	*out = value
	return ok
}
