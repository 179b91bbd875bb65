// Package suite is what the model tests of the library share: larger bounds by
// a flag, and a table of what was explored.
//
//	func TestModelRing(t *testing.T) { // in a file with //go:build modelcheck
//		s := suite.New(t)
//		for _, m := range suite.Models {
//			cfg := modelcheck.Config{Model: m, MaxExecutions: suite.UpTo(20_000, 500_000)}
//			s.Explore("ring of 2", cfg, setup)
//			s.Sweep("sender dies", cfg, "sender", setup)
//		}
//		s.Bug("publish before write", modelcheck.Config{}, wrong, modelcheck.Race, 1)
//	}
//
// Explorations of one name and memory model are runs of one row. The script
// .ci/models runs the models of all packages and prints their rows as one table;
// .ci/models -deep does so with larger bounds.
package suite
