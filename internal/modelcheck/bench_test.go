package modelcheck

import "testing"

// BenchmarkSteps measures the search itself: three threads that add to two
// words in turn.
func BenchmarkSteps(b *testing.B) {
	for _, search := range []struct {
		name string
		s    Search
	}{{"DPOR", DPOR}, {"DFS", DFS}} {
		b.Run(search.name, func(b *testing.B) {
			b.ReportAllocs()
			steps := 0
			for b.Loop() {
				r := Explore(Config{Search: search.s, Model: TSO, MaxExecutions: 2000}, func(w *World) {
					v := Alloc[[2]U64](w, "v")
					for _, name := range []string{"a", "b", "c"} {
						w.Go(name, func() {
							for i := range 6 {
								if x := v[i%2].Load(); x < 4 {
									v[i%2].StoreRelease(x + 1)
								} else {
									v[i%2].CompareAndSwap(x, x+1)
								}
							}
						})
					}
				})
				steps += r.Steps
			}
			b.ReportMetric(float64(steps)/b.Elapsed().Seconds(), "steps/s")
		})
	}
}
