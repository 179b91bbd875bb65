package chaos

// A message is what travels between the children. It tells whether it arrived
// whole, and which life of which sender it comes from.
type message struct {
	Seq  uint64 // number, from 1
	Life uint64 // of the sender
	Fill [4]uint64
	Sum  uint64
}

func sealed(seq, life uint64) message {
	m := message{Seq: seq, Life: life}
	for i := range m.Fill {
		m.Fill[i] = (seq<<8 + life + uint64(i) + 1) * 0x9e3779b97f4a7c15
	}
	m.Sum = m.sum()
	return m
}

func (m *message) sum() uint64 {
	h := (m.Seq ^ 0xcbf29ce484222325) * 0x100000001b3
	h = (h ^ m.Life) * 0x100000001b3
	for _, f := range m.Fill {
		h = (h ^ h>>29 ^ f) * 0x100000001b3
	}
	return h
}

// whole tells whether m is what sealed makes.
func (m *message) whole() bool { return *m == sealed(m.Seq, m.Life) }
