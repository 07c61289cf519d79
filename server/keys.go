package server

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"kith/db"
	"kith/mimi"
	"kith/mimi/identity"
	"kith/mimi/mls"
	"kith/mimi/room"
	"kith/mimi/wire"
	"kith/web/api"
)

const (
	maxKeyPackages   = 200                  // unclaimed packages of one device
	maxPackageLife   = 95 * 24 * time.Hour  // of a KeyPackage; its certificate lives 90 days (CR-1)
	maxForeignLife   = 400 * 24 * time.Hour // of other providers' packages; it bounds how long we remember them
	claimMargin      = 5 * time.Minute      // packages that expire sooner are not handed out
	packagesExamined = 16                   // of a device, to find one with the required capabilities
)

// publishKeyPackages stores packages of the socket's own device.
func (s *socket) publishKeyPackages(r *api.Request) ([]byte, error) {
	packages, err := mls.UnmarshalKeyPackages(r.Body)
	if err != nil || len(packages) == 0 {
		return nil, opBadRequest
	}
	if len(packages) > maxKeyPackages {
		return nil, opTooLarge
	}
	rows := make([]db.KeyPackage, 0, len(packages))
	for _, kp := range packages {
		row, err := s.checkKeyPackage(kp)
		if err != nil {
			return nil, err
		}
		if !kp.LastResort() { // KM-11: it would never be handed out
			rows = append(rows, row)
		}
	}
	var available int
	err = s.m.DB.Write(s.context, func(tx *db.Tx) error {
		for _, row := range rows {
			// A package that is there already came with a request whose answer was lost.
			if err := tx.AddKeyPackage(row); err != nil && !errors.Is(err, db.ErrExists) {
				return err
			}
		}
		if available, err = tx.CountKeyPackages(s.device); err == nil && available > maxKeyPackages {
			return opTooLarge
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return (&api.PublishResponse{Available: uint32(available)}).Bytes()
}

// checkKeyPackage accepts only a package of the socket's own device, under the key and certificate it is known by.
//
// RFC 9420, Section 10.1
func (s *socket) checkKeyPackage(kp *mls.KeyPackage) (db.KeyPackage, error) {
	now := s.m.Now()
	if kp.CipherSuite != suite || kp.Verify(now) != nil {
		return db.KeyPackage{}, opBadRequest
	}
	roots := []*identity.Root{s.m.root}
	c, err := identity.Validate(kp.LeafNode.Credential, kp.LeafNode.SignatureKey, nil, roots, now)
	if err != nil || c.Client != s.client {
		return db.KeyPackage{}, opNotAllowed
	}
	notAfter := kp.LeafNode.Lifetime.NotAfter
	if notAfter > uint64(now.Add(maxPackageLife).Unix()) {
		return db.KeyPackage{}, opBadRequest
	}
	ref, err := kp.Ref()
	if err != nil {
		return db.KeyPackage{}, opBadRequest
	}
	body, err := kp.Bytes()
	if err != nil {
		return db.KeyPackage{}, opBadRequest
	}
	return db.KeyPackage{Ref: ref, Device: s.device, Suite: int64(kp.CipherSuite), NotAfter: int64(notAfter) * 1000, Body: body}, nil
}

// keyMaterial claims one package of every device of a user.
//
// draft-ietf-mimi-protocol-06, Section 5.2
func (s *socket) keyMaterial(r *api.Request) ([]byte, error) {
	req, err := wire.UnmarshalKeyMaterialRequest(r.Body)
	if err != nil {
		return nil, opBadRequest
	}
	// KM-1
	if req.TargetUser.String() != r.Target {
		return nil, opBadRequest
	}
	if err := s.checkRequester(req); err != nil {
		return nil, err
	}
	if req.RoomID.IsZero() {
		return s.m.material(s.context, req, r.Body, []mimi.ClientID{s.client})
	}
	_, h, err := s.m.hubFor(req.RoomID.String())
	if err != nil {
		return nil, err
	}
	return h.KeyMaterial(s.context, room.From(s.client), req, r.Body)
}

// material hands out KeyPackages of a user, but for the clients in skip.
func (m *messenger) material(ctx context.Context, req *wire.KeyMaterialRequest, body []byte, skip []mimi.ClientID) ([]byte, error) {
	if req.TargetUser.Provider() != m.domain {
		return m.foreignMaterial(ctx, req, body, skip)
	}
	// KM-12: replayed or greedy requests must not drain the pool.
	if _, ok := m.claims.take(req.RequestingUser.String()+" "+req.TargetUser.String(), m.Now()); !ok {
		return nil, opRateLimited
	}
	return m.claim(ctx, req, skip)
}

// checkRequester verifies that the request comes from this very device (KM-4, TR-6).
func (s *socket) checkRequester(req *wire.KeyMaterialRequest) error {
	if req.Verify() != nil {
		return opBadSignature
	}
	c, err := identity.Validate(req.RequesterCredential, req.RequesterSignatureKey, nil, []*identity.Root{s.m.root}, s.m.Now())
	if err != nil || c.Client != s.client || c.User != req.RequestingUser {
		return opNotAllowed
	}
	return nil
}

// claim takes the packages out of the pool, all in one transaction (KM-5), if the target has consented (KM-9). Devices in
// skip need none.
func (m *messenger) claim(ctx context.Context, req *wire.KeyMaterialRequest, skip []mimi.ClientID) ([]byte, error) {
	resp := &wire.KeyMaterialResponse{Protocol: wire.ProtocolMLS10, UserURI: req.TargetUser}
	err := m.DB.Write(ctx, func(tx *db.Tx) error {
		resp.Clients = nil
		code, may, err := mayFetch(tx, req.RequestingUser, req.TargetUser, req.RoomID)
		if err != nil || !may {
			resp.UserStatus = code
			return err
		}
		account, err := tx.AccountByName(req.TargetUser.Name())
		if errors.Is(err, db.ErrNotFound) || err == nil && (account.DisabledAt != 0 || req.TargetUser.IsPseudonym()) {
			resp.UserStatus = wire.UserUnknown
			return nil
		}
		if err != nil {
			return err
		}
		devices, err := tx.DevicesOf(req.TargetUser.String())
		if err != nil {
			return err
		}
		// Of a room elsewhere we know by ourselves who is in it already.
		present, err := tx.RoomMembersOf(req.RoomID.String(), req.TargetUser.String())
		if err != nil {
			return err
		}
		for _, d := range devices {
			client, err := mimi.ParseClientID(d.Client)
			if err != nil {
				return err
			}
			if slices.Contains(skip, client) || slices.Contains(present, d.Client) {
				continue
			}
			c, err := claimFor(tx, req, d.ID, client)
			if err != nil {
				return err
			}
			resp.Clients = append(resp.Clients, c)
		}
		resp.UserStatus = userStatus(resp.Clients)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return resp.Bytes()
}

// foreignMaterial asks a user's own provider, as the hub of the room or for no room, and remembers who handed out what: a
// Welcome for these packages goes there (KM-2, KM-8).
func (m *messenger) foreignMaterial(ctx context.Context, req *wire.KeyMaterialRequest, body []byte, skip []mimi.ClientID) ([]byte, error) {
	provider := req.TargetUser.Provider()
	answer, err := m.peers.ask(ctx, provider, endpointKeyMaterial, map[string]string{"targetUser": req.TargetUser.String()}, body)
	if err != nil {
		return nil, err
	}
	resp, err := wire.UnmarshalKeyMaterialResponse(answer)
	if err != nil || resp.UserURI != req.TargetUser {
		return nil, opHubAway
	}
	roots, err := m.peers.rootsFor(ctx, provider)
	if err != nil {
		return nil, err
	}
	given := len(resp.Clients)
	declineOtherSuites(resp, req)
	resp.Clients = slices.DeleteFunc(resp.Clients, func(c wire.ClientKeyMaterial) bool {
		return slices.Contains(skip, c.ClientURI) || c.KeyPackage != nil && !m.checkForeignPackage(&c, req.TargetUser, roots)
	})
	if len(resp.Clients) != given || slices.ContainsFunc(resp.Clients, isIncompatible) {
		resp.UserStatus = userStatus(resp.Clients)
	}
	err = m.DB.Write(ctx, func(tx *db.Tx) error { return recordForeign(tx, resp, provider.Host(), req.RoomID.String()) })
	if errors.Is(err, db.ErrExists) {
		m.Log.Warn("another provider hands out KeyPackages twice", "peer", provider.Host())
		return nil, opHubAway
	}
	if err != nil {
		return nil, err
	}
	return resp.Bytes()
}

// declineOtherSuites turns KeyPackages that nobody has asked for into the answer that should have been given: who wants to
// add somebody learns why that cannot be.
func declineOtherSuites(resp *wire.KeyMaterialResponse, req *wire.KeyMaterialRequest) {
	for i := range resp.Clients {
		c := &resp.Clients[i]
		if kp := c.KeyPackage; kp != nil && (!slices.Contains(req.AcceptableCipherSuites, kp.CipherSuite) ||
			!kp.LeafNode.Capabilities.Support(req.RequiredCapabilities)) {
			*c = wire.ClientKeyMaterial{ClientStatus: wire.ClientNothingCompatible, ClientURI: c.ClientURI, ClientCapabilities: &kp.LeafNode.Capabilities}
		}
	}
}

func isIncompatible(c wire.ClientKeyMaterial) bool {
	return c.ClientStatus == wire.ClientNothingCompatible
}

func recordForeign(tx *db.Tx, resp *wire.KeyMaterialResponse, provider, room string) error {
	for _, c := range resp.Clients {
		if c.KeyPackage == nil {
			continue
		}
		ref, err := c.KeyPackage.Ref()
		if err != nil {
			return err
		}
		if err := tx.AddKeyForward(ref, provider, room, int64(c.KeyPackage.LeafNode.Lifetime.NotAfter)*1000); err != nil {
			return err
		}
	}
	return nil
}

// checkForeignPackage looks at what another provider hands out before anybody uses it (KM-10).
//
// RFC 9420, Section 10.1
func (m *messenger) checkForeignPackage(c *wire.ClientKeyMaterial, user mimi.UserID, roots []*identity.Root) bool {
	kp := c.KeyPackage
	now := m.Now()
	if kp.Verify(now) != nil || kp.LeafNode.Lifetime.NotAfter > uint64(now.Add(maxForeignLife).Unix()) {
		return false
	}
	id, err := identity.Validate(kp.LeafNode.Credential, kp.LeafNode.SignatureKey, nil, roots, now)
	return err == nil && id.Client == c.ClientURI && id.User == user
}

// userStatus sums the clients up (KM-7).
func userStatus(clients []wire.ClientKeyMaterial) wire.KeyMaterialUserCode {
	supplied := 0
	for _, c := range clients {
		if c.ClientStatus == wire.ClientSuccess {
			supplied++
		}
	}
	switch supplied {
	case 0:
		return wire.UserNoCompatibleMaterial
	case len(clients):
		return wire.UserSuccess
	}
	return wire.UserPartialSuccess
}

// claimFor claims a package of one device that fits the request (KM-9). There is no last resort, also not among those
// that were taken in before they were refused: it would be handed out more than once, or would be none. A device
// without other packages joins by itself (KM-11).
//
// draft-ietf-mimi-protocol-06, Section 5.2
func claimFor(tx *db.Tx, req *wire.KeyMaterialRequest, device int64, client mimi.ClientID) (wire.ClientKeyMaterial, error) {
	out := wire.ClientKeyMaterial{ClientStatus: wire.ClientKeyMaterialExhausted, ClientURI: client}
	if !slices.Contains(req.AcceptableCipherSuites, suite) {
		// Our clients use one suite only; what they could do besides may help who asks to understand.
		capabilities := room.Capabilities()
		out.ClientStatus, out.ClientCapabilities = wire.ClientNothingCompatible, &capabilities
		return out, nil
	}
	notBefore := tx.Now() + claimMargin.Milliseconds()
	for _, cs := range req.AcceptableCipherSuites {
		rows, err := tx.KeyPackages(device, int64(cs), notBefore, packagesExamined)
		if err != nil {
			return out, err
		}
		for _, row := range rows {
			kp, err := mls.UnmarshalKeyPackage(bytes.Clone(row.Body))
			if err != nil {
				return out, err
			}
			if kp.LastResort() {
				continue
			}
			if !kp.LeafNode.Capabilities.Support(req.RequiredCapabilities) {
				out.ClientStatus = wire.ClientNothingCompatible
				out.ClientCapabilities = &kp.LeafNode.Capabilities
				continue
			}
			if err := tx.ClaimKeyPackage(row.Ref, req.RoomID.String()); err != nil {
				return out, err
			}
			return wire.ClientKeyMaterial{ClientStatus: wire.ClientSuccess, ClientURI: client, KeyPackage: kp}, nil
		}
	}
	return out, nil
}
