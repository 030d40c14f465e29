package snapshot

import (
	"bytes"
	"hash/crc32"
	"math/rand/v2"
	"path/filepath"
	"testing"
)

func BenchmarkStoreWriter(b *testing.B) {
	data := make([]byte, 64*mib)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := 0; i < len(data); i += 512 {
		data[i] = byte(1 + rng.IntN(255))
	}
	sparse := bytes.Clone(data)
	for i := 0; i < len(sparse); i += 2 * PageSize {
		clear(sparse[i : i+PageSize])
	}
	for _, c := range []struct {
		name  string
		data  []byte
		piece int
	}{
		{"data/4MiB", data, 4 * mib}, {"data/64KiB", data, 64 << 10}, {"data/4KiB", data, PageSize},
		{"zero", make([]byte, len(data)), 4 * mib}, {"alternating", sparse, 4 * mib},
	} {
		b.Run(c.name, func(b *testing.B) { benchmarkStore(b, c.data, c.piece) })
	}
	b.Run("crc32 alone", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			crc32.ChecksumIEEE(data)
		}
	})
}

// benchmarkStore writes data in pieces, without waiting for the disk.
func benchmarkStore(b *testing.B, data []byte, size int) {
	ok := must(b)
	dir := b.TempDir()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		w, err := Create(filepath.Join(dir, "job"))
		ok(err)
		s, err := w.Store("mm-1")
		ok(err)
		for i := 0; i < len(data); i += size {
			ok(s.Write(uint64(i), data[i:i+size]))
		}
		_, err = s.Close()
		ok(err)
		ok(w.Abort())
	}
}
