package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"

	"kith/static"
)

var (
	assetRef  = regexp.MustCompile(`['"]asset:[\w.-]+['"]`)
	importRef = regexp.MustCompile(`\bfrom\s+['"]\./[\w.-]+\.js['"]`)
)

// bundle collects the assets by their name in the source.
type bundle struct {
	assets  map[string]static.Asset
	content map[string][]byte
	files   map[string][]byte // what dist holds, by file name
	missing []string          // names asked for by url that were never added
}

func newBundle() *bundle {
	return &bundle{assets: map[string]static.Asset{}, content: map[string][]byte{}, files: map[string][]byte{}}
}

// add takes an asset in. Its name gets the hash of its bytes, except the
// document's, which is found by its path.
func (b *bundle) add(name string, data []byte) {
	sum := sha256.Sum256(data)
	hash := hex.EncodeToString(sum[:])
	ext := path.Ext(name)
	file := strings.TrimSuffix(name, ext) + "." + hash[:16] + ext
	if name == static.IndexName {
		file = name
	}
	b.assets[name] = static.Asset{File: file, SHA256: hash, Size: len(data)}
	b.content[name] = data
}

// url is the address of an asset already added.
func (b *bundle) url(name string) string {
	a, ok := b.assets[name]
	if !ok {
		b.missing = append(b.missing, name)
	}
	return static.Prefix + a.File
}

// compress makes the files: pictures as they are, everything else as brotli
// and gzip only.
func (b *bundle) compress() error {
	var wait sync.WaitGroup
	var mu sync.Mutex
	var failed error
	for name, data := range b.content {
		wait.Go(func() {
			if path.Ext(name) == ".png" {
				mu.Lock()
				defer mu.Unlock()
				b.files[b.assets[name].File] = data
				return
			}
			br, gz, err := pack(data)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = fmt.Errorf("%s: %w", name, err)
				return
			}
			a := b.assets[name]
			a.Brotli, a.Gzip = len(br), len(gz)
			b.assets[name] = a
			b.files[a.File+".br"], b.files[a.File+".gz"] = br, gz
		})
	}
	wait.Wait()
	return failed
}

// pack compresses as hard as it goes: it is done once and sent often.
func pack(data []byte) (br, gz []byte, err error) {
	var brOut, gzOut bytes.Buffer
	gzWriter, err := gzip.NewWriterLevel(&gzOut, gzip.BestCompression)
	if err != nil {
		return nil, nil, err
	}
	for _, w := range []io.WriteCloser{brotli.NewWriterOptions(&brOut, brotli.WriterOptions{Quality: 11, LGWin: 24}), gzWriter} {
		if _, err := w.Write(data); err != nil {
			return nil, nil, err
		}
		if err := w.Close(); err != nil {
			return nil, nil, err
		}
	}
	return brOut.Bytes(), gzOut.Bytes(), nil
}

// report prints what a browser has to load.
func (b *bundle) report(w io.Writer) {
	fmt.Fprintf(w, "%-24s %10s %10s %10s\n", "asset", "bytes", "brotli", "gzip")
	var total static.Asset
	for _, name := range slices.Sorted(maps.Keys(b.assets)) {
		a := b.assets[name]
		fmt.Fprintf(w, "%-24s %10d %10d %10d\n", name, a.Size, a.Brotli, a.Gzip)
		total.Size += a.Size
		total.Brotli += a.Brotli
		total.Gzip += a.Gzip
	}
	fmt.Fprintf(w, "%-24s %10d %10d %10d\n", "together", total.Size, total.Brotli, total.Gzip)
}
