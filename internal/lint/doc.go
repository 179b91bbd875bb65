// Package lint holds the tree to the rules that no general tool knows. Its
// tests are the rules, so they run with all others:
//
//   - Only internal/word and internal/modelcheck touch atomics, futexes and
//     membarrier, so that all of it runs under the explorer ([Seam]).
//   - Every package has a doc.go, every package for users an example, every
//     exported name a comment ([Docs]).
//   - No Go file is too long to be about one idea ([Long]).
//   - The Go code in README.md and docs/ compiles ([CodeBlocks]).
//   - Relative links in Markdown files lead somewhere ([Links]).
//
// Besides, it reads the tables of docs/memory-layout.md ([Tables]) for the
// tests that hold them to the code in the packages that own the structures.
//
// Only tests use it, and it has nothing to do with shared memory.
package lint
