package region_test

import (
	"fmt"
	"log"

	"github.com/shmkit/shm/region"
)

const (
	sender = iota
	receiver
	roles
)

// Two attachments of one region, one for each role. The second could be in
// another process.
func Example() {
	r, err := region.Memfd(region.Config{
		Roles:    roles,
		Sections: []region.Section{{Kind: region.KindLane, Version: 1, Required: true, Size: 1 << 16}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Unmap()
	if err := r.Claim(sender); err != nil {
		log.Fatal(err)
	}
	peer, err := r.Attach(receiver)
	if err != nil {
		log.Fatal(err)
	}
	defer peer.Unmap()

	mem, size, _, _ := r.Section(region.KindLane)
	*(*byte)(mem) = 42
	mem, _, _, _ = peer.Section(region.KindLane)
	fmt.Println(*(*byte)(mem), size)

	fmt.Println(r.Probe(receiver).Phase)
	peer.Abandon() // as if its process had been killed
	fmt.Println(r.Probe(receiver).Phase)
	r.Close(nil)
	// Output:
	// 42 65536
	// attached
	// dead
}
