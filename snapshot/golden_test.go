package snapshot

import (
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "write the golden image anew")

const golden = "testdata/golden-v1"

// TestGolden opens an image of version 1 as it was first defined. The image is
// only to be written anew while version 1 is not released.
func TestGolden(t *testing.T) {
	ok := must(t)
	if *update {
		ok(os.RemoveAll(golden))
		ok(os.MkdirAll("testdata", 0o755))
		writeSample(t, golden)
	}
	im, err := Open(golden)
	ok(err)
	defer im.Close()
	ok(im.Verify())
	want := sampleManifest()
	opts := []cmp.Option{
		cmpopts.EquateEmpty(),
		cmpopts.IgnoreFields(Manifest{}, "Format", "ID", "Stores", "XState"),
		cmpopts.IgnoreFields(Thread{}, "XState"),
	}
	if diff := cmp.Diff(want, im.Manifest, opts...); diff != "" {
		t.Errorf("golden manifest (-want +have):\n%s", diff)
	}
	s, err := im.Store("mm-1")
	ok(err)
	defer s.Close()
	want1 := []Record{
		{Addr: 0x400000, Pages: 1, Stored: PageSize, CRC: 0xe67e931f},
		{Addr: 0x401000, Pages: 2, Zero: true},
		{Addr: 0x7fffffffe000, Offset: PageSize, Pages: 1, Stored: PageSize, CRC: 0x85d9260d},
	}
	if diff := cmp.Diff(want1, s.Records()); diff != "" {
		t.Errorf("golden records (-want +have):\n%s", diff)
	}
}
