package db

import (
	"crypto/rand"
	"encoding/binary"
	"sync"
	"testing"
)

// BenchmarkWriter measures durable rows of 400 octets by producers that wait for their answer.
func BenchmarkWriter(b *testing.B) {
	for _, c := range []struct {
		name      string
		producers int
	}{{"1", 1}, {"8", 8}, {"64", 64}, {"256", 256}} {
		b.Run(c.name, func(b *testing.B) {
			db, err := Open(b.Context(), b.TempDir(), Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			body := make([]byte, 400)
			rand.Read(body)
			var wg sync.WaitGroup
			work := make(chan int, c.producers)
			b.ResetTimer()
			for range c.producers {
				wg.Go(func() {
					for i := range work {
						var key [8]byte
						binary.BigEndian.PutUint64(key[:], uint64(i))
						if err := db.Write(b.Context(), func(tx *Tx) error { return tx.SetSetting(string(key[:]), body) }); err != nil {
							b.Error(err)
						}
					}
				})
			}
			for i := range b.N {
				work <- i
			}
			close(work)
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// BenchmarkRead measures small snapshots.
func BenchmarkRead(b *testing.B) {
	db, err := Open(b.Context(), b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	if err := db.Write(b.Context(), func(tx *Tx) error { return tx.SetSetting("k", []byte("v")) }); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := db.Read(b.Context(), func(tx *Tx) error { _, err := tx.Setting("k"); return err }); err != nil {
			b.Fatal(err)
		}
	}
}
