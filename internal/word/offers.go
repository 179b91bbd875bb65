package word

// An Offer says which calls of the kernel there are.
type Offer struct {
	Futex      bool // parking without polling
	FutexWaitv bool // parking on several words at once
	Membarrier bool // fencing others, so that publishing needs no fence
}
