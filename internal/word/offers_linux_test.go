//go:build !modelcheck

package word

import "testing"

func TestOffers(t *testing.T) {
	o := Offers()
	t.Logf("%+v", o)
	if o.Membarrier != Membarrier() {
		t.Errorf("membarrier is offered: %v, and works: %v", o.Membarrier, Membarrier())
	}
}
