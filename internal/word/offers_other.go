//go:build !linux

package word

// Offers tells that this system has none of the calls.
func Offers() (o Offer) { return o }
