package client

import (
	"context"
	"encoding/hex"
	"strings"
	"time"

	"kith/mimi/mls"
	"kith/web/api"
)

// draft-ietf-mimi-room-policy-03, Section 7.1: how many KeyPackages wait for others to add this device, and how long.
const (
	poolSize     = 50
	poolRefill   = 20
	poolLifetime = 60 * 24 * time.Hour
	poolBackdate = time.Hour // for clocks that are behind
)

// refillPackages publishes new KeyPackages if the provider has few left.
func (e *engine) refillPackages(available int) {
	e.available = available
	if available >= poolRefill || e.refilling {
		e.settled = e.settled || available > 0
		return
	}
	e.refilling = true
	e.spawn(func(ctx context.Context) {
		err := e.publishPackages(ctx, poolSize-available)
		_ = e.do(ctx, func() error {
			e.refilling = false
			if err != nil && e.ready() {
				e.drop("key packages not published")
			}
			if !e.settled { // a new device is ready when others can reach it, or when that cannot be had now
				e.settled = err == nil || e.ready()
				e.postState()
			}
			return nil
		})
	})
}

// packageUsed counts down without asking the provider.
func (e *engine) packageUsed() {
	e.available--
	if e.link != nil {
		e.refillPackages(e.available)
	}
}

// publishPackages stores the private parts first: a Welcome to a package we do not know would be lost.
func (e *engine) publishPackages(ctx context.Context, n int) error {
	var list mls.KeyPackages
	b := new(batch)
	for range n {
		err := e.do(ctx, func() error { // one at a time, so that others get their turn
			kp, err := e.makePackage(b)
			list = append(list, kp)
			return err
		})
		if err != nil {
			return err
		}
	}
	if err := e.do(ctx, func() error { e.purgePackages(b); return e.commit(b) }); err != nil {
		return err
	}
	data, err := list.Bytes()
	if err != nil {
		return err
	}
	body, err := e.call(ctx, api.OpPublishKeyPackages, "", data)
	if err != nil {
		return err
	}
	r, err := api.UnmarshalPublishResponse(body)
	if err != nil {
		return err
	}
	return e.do(ctx, func() error { e.available = int(r.Available); return nil })
}

// makePackage adds a new KeyPackage's private part to the batch and returns its public part.
func (e *engine) makePackage(b *batch) (*mls.KeyPackage, error) {
	c, err := e.mlsClient()
	if err != nil {
		return nil, err
	}
	now := e.now()
	until := now.Add(poolLifetime)
	life := mls.Lifetime{NotBefore: uint64(now.Add(-poolBackdate).Unix()), NotAfter: uint64(until.Unix())}
	key, err := mls.NewKeyPackage(e.mlsConfig(), c, life, nil)
	if err != nil {
		return nil, err
	}
	ref, err := key.KeyPackage.Ref()
	if err != nil {
		return nil, err
	}
	secrets, err := key.Bytes()
	if err != nil {
		return nil, err
	}
	out := newEncoder()
	out.u64(uint64(until.Unix()))
	out.bytes(secrets)
	b.put(keyPackage+hex.EncodeToString(ref), out.done())
	return key.KeyPackage, nil
}

// purgePackages deletes private parts that nobody can use any more.
func (e *engine) purgePackages(b *batch) {
	list, err := e.store.Range(e.ctx, keyPackage, "", "", 0, false)
	if err != nil {
		b.err = err
		return
	}
	limit := uint64(e.now().Add(-24 * time.Hour).Unix()) // a Welcome may still be on its way
	for _, kv := range list {
		d := newDecoder(kv.Value)
		if until := d.u64(); d.bad || until < limit {
			b.del(keyPackage + strings.TrimPrefix(kv.Key, keyPackage))
		}
	}
}

func parsePackage(data []byte) (*mls.KeyPackageSecrets, error) {
	d := newDecoder(data)
	d.u64()
	secrets := d.bytes()
	if err := d.done(); err != nil {
		return nil, err
	}
	return mls.UnmarshalKeyPackageSecrets(secrets)
}
