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

// An observer sees who holds which role, and can change nothing.
func ExampleObserve() {
	r, err := region.Open("example-observed", sender, region.Config{
		Roles:    roles,
		Sections: []region.Section{{Kind: region.KindLane, Size: 4096}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Unmap()
	defer r.Close(func() bool { return true })

	o, err := region.Observe("example-observed")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer o.Close()
	for _, role := range []int{sender, receiver} {
		e, err := o.Endpoint(role)
		fmt.Println(e.Phase, e.Life, err)
	}
	// Output:
	// attached alive <nil>
	// free unknown <nil>
}
