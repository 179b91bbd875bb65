package slabpool

import "testing"

func BenchmarkAllocFree(b *testing.B) {
	for _, x := range []struct {
		name  string
		cache int
	}{{"list", 0}, {"cached", 16}} {
		b.Run(x.name, func(b *testing.B) {
			p := seats(b, 1, x.cache, Class{4096, 1024})[0]
			b.ReportAllocs()
			for b.Loop() {
				h, err := p.TryAlloc(4096)
				if err != nil {
					b.Fatal(err)
				}
				if err := p.Free(h); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("Pool", func(b *testing.B) {
		p, err := Heap(Class{4096, 1024})
		must(b, err)
		b.ReportAllocs()
		for b.Loop() {
			h, err := p.TryAlloc(4096)
			if err != nil {
				b.Fatal(err)
			}
			if err := p.Free(h); err != nil {
				b.Fatal(err)
			}
		}
		must(b, p.Close())
	})
}
