package region_test

import (
	"fmt"

	"github.com/shmkit/shm/region"
)

// Both sides of a named region call Open, in either order: the first one
// creates it.
func ExampleOpen() {
	r, err := region.Open("example-region", sender, region.Config{
		Roles:    roles,
		Sections: []region.Section{{Kind: region.KindLane, Size: 4096}},
		Init: func(r *region.Region) error {
			fmt.Println("created")
			return nil
		},
		Accept: func(r *region.Region) (region.Verdict, error) {
			fmt.Println("found")
			return region.Keep, nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Unmap()
	fmt.Println(r.State(sender).Phase, r.State(receiver).Phase)
	r.Close(func() bool { return true }) // nobody else: remove the name
	// Output:
	// created
	// attached free
}
