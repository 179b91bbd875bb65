package shmchan_test

import (
	"math"
	"testing"
)

type nested struct {
	A    int8
	B    float64
	C    [3]struct{ X, Y uint16 }
	_    [5]byte
	D    complex128
	E    bool
	Zero struct{}
}

// through sends vs through a channel of capacity 2, by every way.
func through[T comparable](t *testing.T, name string, vs ...T) {
	t.Run(name, func(t *testing.T) {
		onEach(t, func(t *testing.T, o options) {
			ctx := within(t)
			tx, rx := pair[T](t, o.cap(2))
			sent := goes(func() error {
				for range 3 {
					for _, v := range vs {
						if err := tx.Send(ctx, v); err != nil {
							return err
						}
					}
					if _, err := tx.SendBatch(ctx, vs); err != nil {
						return err
					}
					for _, v := range vs {
						p, err := tx.Reserve(ctx)
						if err != nil {
							return err
						}
						*p = v
						if err := tx.Commit(); err != nil {
							return err
						}
					}
				}
				return tx.Close()
			})
			next := 0
			for v, err := range rx.All(ctx) {
				if want := vs[next%len(vs)]; err != nil || v != want {
					t.Fatalf("message %d: %v, error %v", next, v, err)
				}
				next++
			}
			if next != 9*len(vs) {
				t.Fatal(next)
			}
			must(t, result(t, sent))
		})
	})
}

func TestTypes(t *testing.T) {
	through(t, "zero", struct{}{}, struct{}{})
	through(t, "zero array", [0]int64{}, [0]int64{})
	through[byte](t, "byte", 1, 2, 255)
	through(t, "bool", true, false)
	through(t, "three bytes", [3]byte{1, 2, 3}, [3]byte{4, 5, 6})
	through(t, "56 bytes", [7]uint64{1, 2, 3, 4, 5, 6, 7}, [7]uint64{6: 9})
	through(t, "57 bytes", [57]byte{56: 1}, [57]byte{0: 1})
	through(t, "floats", math.Inf(1), -0.5, math.MaxFloat64)
	through(t, "nested",
		nested{A: -1, B: math.Pi, C: [3]struct{ X, Y uint16 }{{1, 2}, {3, 4}, {5, 6}}, D: 1i, E: true},
		nested{})
	var big [64<<10 - 1]byte // the largest that Go lets a channel carry
	for i := range big {
		big[i] = byte(i * 7)
	}
	through(t, "64 KiB less one", big, [64<<10 - 1]byte{1})
}
