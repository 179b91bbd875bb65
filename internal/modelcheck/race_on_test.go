//go:build race

package modelcheck

const underRace = true // ten times slower
