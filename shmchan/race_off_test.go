//go:build !race

package shmchan_test

const raceEnabled = false
