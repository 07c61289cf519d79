package mls

// NewLastResortKeyPackage makes a KeyPackage that may be used more than once, when there is no other left: it is marked
// with a component without data. The client's capabilities list app_data_dictionary. Whoever joined with one soon
// makes a commit with a path, since the key of its leaf is that of the KeyPackage and perhaps in other groups too.
//
// draft-ietf-mls-extensions, Section 6.4; RFC 9420, Section 16.8
func NewLastResortKeyPackage(cfg Config, c *Client, lifetime Lifetime, ext Extensions) (*KeyPackageSecrets, error) {
	dict, err := ext.AppData()
	if err != nil {
		return nil, err
	}
	if ext, err = ext.SetAppData(dict.Set(ComponentLastResortKeyPackage, nil)); err != nil {
		return nil, err
	}
	return NewKeyPackage(cfg, c, lifetime, ext)
}

// LastResort reports whether k is marked as one of last resort, by the component or by the extension of earlier drafts:
// whoever hands out KeyPackages keeps it, and its client keeps the secrets after use. Only the empty mark counts.
//
// draft-ietf-mls-extensions, Section 6.4
func (k *KeyPackage) LastResort() bool {
	if data, ok := k.Extensions.Get(ExtensionLastResort); ok && len(data) == 0 {
		return true
	}
	dict, err := k.Extensions.AppData()
	if err != nil {
		return false
	}
	data, ok := dict.Get(ComponentLastResortKeyPackage)
	return ok && len(data) == 0
}
