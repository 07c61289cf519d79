package api

import "golang.org/x/crypto/cryptobyte"

// RegisterDeviceRequest is the body of OpRegisterDevice.
type RegisterDeviceRequest struct {
	Name         string // shown to the user's other devices
	SignatureKey []byte // the device's MLS signature key
	Signature    []byte // under LabelRegisterDevice, over the greeting's nonce
}

// RegisterDeviceResponse is the answer to OpRegisterDevice.
type RegisterDeviceResponse struct {
	Client      string // client URI
	Certificate []byte // DER, the device's credential
}

// HelloRequest is the body of OpHello.
type HelloRequest struct {
	Cursor    uint64 // the last event durably processed; 0: none
	Signature []byte // under LabelHello, over HelloContent
}

// HelloResponse is the answer to OpHello.
type HelloResponse struct {
	KeyPackages uint32 // how many of the device's packages nobody claimed yet
	Head        uint64 // cursor of the newest event anywhere on the server
}

// PublishResponse is the answer to OpPublishKeyPackages.
type PublishResponse struct {
	Available uint32 // how many unclaimed packages the device now has
}

// CreateRoomRequest is the body of OpCreateRoom.
type CreateRoomRequest struct {
	GroupInfo   []byte // MLSMessage of epoch 0
	RatchetTree []byte // optional<Node> ratchet_tree<V>
}

// StringList is the body of OpRooms' answer and of OpProfiles' request: u16-strings to the end of the body.
type StringList []string

// Profile is what a server tells about one of its users.
type Profile struct {
	User        string
	DisplayName string
}

// ProfileList is the answer to OpProfiles: pairs of u16-strings to the end of the body.
type ProfileList []Profile

// Device is what a server tells a user about one of his devices.
type Device struct {
	Client  string // client URI
	Name    string
	Created uint64 // ms since 1970
	Seen    uint64 // when it was last connected
}

// DeviceList is the answer to OpDevices, to the end of the body.
type DeviceList []Device

// body is what every struct in this file can do.
type body interface {
	marshal(b *cryptobyte.Builder)
	unmarshal(s *cryptobyte.String) bool
}

func encode(v body) ([]byte, error) {
	var b cryptobyte.Builder
	v.marshal(&b)
	out, err := b.Bytes()
	if err != nil {
		return nil, errBody
	}
	return out, nil
}

func decode(data []byte, v body) error {
	s := cryptobyte.String(data)
	if !v.unmarshal(&s) || !s.Empty() {
		return errBody
	}
	return nil
}

// UnmarshalRegisterDeviceRequest decodes a whole body.
func UnmarshalRegisterDeviceRequest(data []byte) (*RegisterDeviceRequest, error) {
	r := new(RegisterDeviceRequest)
	return r, decode(data, r)
}

// Bytes encodes the body.
func (r *RegisterDeviceRequest) Bytes() ([]byte, error) { return encode(r) }

func (r *RegisterDeviceRequest) marshal(b *cryptobyte.Builder) {
	addString(b, r.Name)
	addOpaque16(b, r.SignatureKey)
	addOpaque16(b, r.Signature)
}

func (r *RegisterDeviceRequest) unmarshal(s *cryptobyte.String) bool {
	return readString(s, &r.Name) && readOpaque16(s, &r.SignatureKey) && readOpaque16(s, &r.Signature)
}

// UnmarshalRegisterDeviceResponse decodes a whole body.
func UnmarshalRegisterDeviceResponse(data []byte) (*RegisterDeviceResponse, error) {
	r := new(RegisterDeviceResponse)
	return r, decode(data, r)
}

// Bytes encodes the body.
func (r *RegisterDeviceResponse) Bytes() ([]byte, error) { return encode(r) }

func (r *RegisterDeviceResponse) marshal(b *cryptobyte.Builder) {
	addString(b, r.Client)
	addOpaque32(b, r.Certificate)
}

func (r *RegisterDeviceResponse) unmarshal(s *cryptobyte.String) bool {
	return readString(s, &r.Client) && readOpaque32(s, &r.Certificate)
}

// UnmarshalHelloRequest decodes a whole body.
func UnmarshalHelloRequest(data []byte) (*HelloRequest, error) {
	r := new(HelloRequest)
	return r, decode(data, r)
}

// Bytes encodes the body.
func (r *HelloRequest) Bytes() ([]byte, error) { return encode(r) }

func (r *HelloRequest) marshal(b *cryptobyte.Builder) {
	b.AddUint64(r.Cursor)
	addOpaque16(b, r.Signature)
}

func (r *HelloRequest) unmarshal(s *cryptobyte.String) bool {
	return s.ReadUint64(&r.Cursor) && readOpaque16(s, &r.Signature)
}

// UnmarshalHelloResponse decodes a whole body.
func UnmarshalHelloResponse(data []byte) (*HelloResponse, error) {
	r := new(HelloResponse)
	return r, decode(data, r)
}

// Bytes encodes the body.
func (r *HelloResponse) Bytes() ([]byte, error) { return encode(r) }

func (r *HelloResponse) marshal(b *cryptobyte.Builder) {
	b.AddUint32(r.KeyPackages)
	b.AddUint64(r.Head)
}

func (r *HelloResponse) unmarshal(s *cryptobyte.String) bool {
	return s.ReadUint32(&r.KeyPackages) && s.ReadUint64(&r.Head)
}

// UnmarshalPublishResponse decodes a whole body.
func UnmarshalPublishResponse(data []byte) (*PublishResponse, error) {
	r := new(PublishResponse)
	return r, decode(data, r)
}

// Bytes encodes the body.
func (r *PublishResponse) Bytes() ([]byte, error) { return encode(r) }

func (r *PublishResponse) marshal(b *cryptobyte.Builder) { b.AddUint32(r.Available) }

func (r *PublishResponse) unmarshal(s *cryptobyte.String) bool { return s.ReadUint32(&r.Available) }

// UnmarshalCreateRoomRequest decodes a whole body.
func UnmarshalCreateRoomRequest(data []byte) (*CreateRoomRequest, error) {
	r := new(CreateRoomRequest)
	return r, decode(data, r)
}

// Bytes encodes the body.
func (r *CreateRoomRequest) Bytes() ([]byte, error) { return encode(r) }

func (r *CreateRoomRequest) marshal(b *cryptobyte.Builder) {
	addOpaque32(b, r.GroupInfo)
	addOpaque32(b, r.RatchetTree)
}

func (r *CreateRoomRequest) unmarshal(s *cryptobyte.String) bool {
	return readOpaque32(s, &r.GroupInfo) && readOpaque32(s, &r.RatchetTree)
}

// UnmarshalStringList decodes a whole body.
func UnmarshalStringList(data []byte) (StringList, error) {
	var l StringList
	err := decode(data, &l)
	return l, err
}

// Bytes encodes the body.
func (l StringList) Bytes() ([]byte, error) { return encode(&l) }

func (l *StringList) marshal(b *cryptobyte.Builder) {
	for _, v := range *l {
		addString(b, v)
	}
}

func (l *StringList) unmarshal(s *cryptobyte.String) bool {
	for !s.Empty() {
		var v string
		if !readString(s, &v) {
			return false
		}
		*l = append(*l, v)
	}
	return true
}

// UnmarshalProfileList decodes a whole body.
func UnmarshalProfileList(data []byte) (ProfileList, error) {
	var l ProfileList
	err := decode(data, &l)
	return l, err
}

// Bytes encodes the body.
func (l ProfileList) Bytes() ([]byte, error) { return encode(&l) }

func (l *ProfileList) marshal(b *cryptobyte.Builder) {
	for _, p := range *l {
		addString(b, p.User)
		addString(b, p.DisplayName)
	}
}

func (l *ProfileList) unmarshal(s *cryptobyte.String) bool {
	for !s.Empty() {
		var p Profile
		if !readString(s, &p.User) || !readString(s, &p.DisplayName) {
			return false
		}
		*l = append(*l, p)
	}
	return true
}

// DERList is the answer to OpIdentityRoots: u32-opaques to the end of the body.
type DERList [][]byte

// UnmarshalDERList decodes a whole body.
func UnmarshalDERList(data []byte) (DERList, error) {
	var l DERList
	err := decode(data, &l)
	return l, err
}

// Bytes encodes the body.
func (l DERList) Bytes() ([]byte, error) { return encode(&l) }

func (l *DERList) marshal(b *cryptobyte.Builder) {
	for _, der := range *l {
		addOpaque32(b, der)
	}
}

func (l *DERList) unmarshal(s *cryptobyte.String) bool {
	for !s.Empty() {
		var der []byte
		if !readOpaque32(s, &der) {
			return false
		}
		*l = append(*l, der)
	}
	return true
}

// UnmarshalDeviceList decodes a whole body.
func UnmarshalDeviceList(data []byte) (DeviceList, error) {
	var l DeviceList
	err := decode(data, &l)
	return l, err
}

// Bytes encodes the body.
func (l DeviceList) Bytes() ([]byte, error) { return encode(&l) }

func (l *DeviceList) marshal(b *cryptobyte.Builder) {
	for _, d := range *l {
		addString(b, d.Client)
		addString(b, d.Name)
		b.AddUint64(d.Created)
		b.AddUint64(d.Seen)
	}
}

func (l *DeviceList) unmarshal(s *cryptobyte.String) bool {
	for !s.Empty() {
		var d Device
		if !readString(s, &d.Client) || !readString(s, &d.Name) || !s.ReadUint64(&d.Created) || !s.ReadUint64(&d.Seen) {
			return false
		}
		*l = append(*l, d)
	}
	return true
}
