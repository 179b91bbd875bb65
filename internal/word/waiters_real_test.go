//go:build !modelcheck

package word

func waiters() []waiter {
	return []waiter{{"Wait", (*Waiters).Wait, 10000}, {"poll", (*Waiters).poll, 100}}
}
