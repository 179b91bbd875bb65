package chaos

import (
	"fmt"
	"strings"
	"testing"
)

// A delivery is what a consumer writes down for each message that it got.
type delivery struct {
	Msg  message
	Life uint64 // of the consumer; its successor has the next one
}

// A checker holds the deliveries of a consumer and its successors, in the order
// in which they were written down, against what is promised:
//
//   - whole, and in order;
//   - Peek and Release: nothing is left out. A message comes again only as the
//     first one of a consumer whose predecessor died before its Release;
//   - Recv: none comes twice. A consumer that dies can take messages along: those
//     of the call in which it died;
//   - a sender that dies in a call may have published messages of that call
//     without having heard of it. Its successor sends them again, as its own.
//
// The successor of a sender begins behind the last number that was acknowledged.
type checker struct {
	burst uint64 // most messages that one call of a sender publishes
	takes uint64 // most messages that one call of a consumer takes: 0 for Peek and Release

	any    bool
	last   delivery
	pos    uint64 // the highest number that was delivered: the consumer's position
	unique uint64 // messages, without those that came again
	again  uint64 // after the death of a consumer
	resent uint64 // after the death of a sender
	gone   uint64 // taken along by consumers that died
}

func (c *checker) deliver(d delivery) error {
	last := c.last
	fault := func(what string) error {
		return fmt.Errorf("%s: message %d of sender %d at consumer %d, after %d of sender %d at consumer %d (position %d)",
			what, d.Msg.Seq, d.Msg.Life, d.Life, last.Msg.Seq, last.Msg.Life, last.Life, c.pos)
	}
	if !d.Msg.whole() {
		return fault(fmt.Sprintf("torn (%x)", d.Msg))
	}
	if d.Msg.Life < last.Msg.Life || d.Life < last.Life {
		return fault("out of order: an earlier life after a later one")
	}
	deaths := d.Life - last.Life // of consumers since the last delivery
	if !c.any {
		c.any, deaths = true, d.Life-1
	} else if d.Msg == last.Msg {
		if c.takes > 0 || deaths == 0 {
			return fault("doubled")
		}
		c.again++
		c.last = d
		return nil
	}
	lost := deaths * c.takes // at most so many may be missing
	least, most := last.Msg.Seq+1, last.Msg.Seq+1+lost
	if d.Msg.Life > last.Msg.Life { // a successor, which sends again what its predecessor has not heard of
		least, most = c.pos+1-min(c.pos, c.burst), c.pos+1+lost
	}
	switch {
	case d.Msg.Seq > most:
		return fault("lost")
	case d.Msg.Seq < least && d.Msg.Life > last.Msg.Life:
		return fault("sent again after it was acknowledged")
	case d.Msg.Seq < least:
		return fault("doubled or out of order")
	case d.Msg.Seq <= c.pos:
		c.resent++
	default:
		c.gone += d.Msg.Seq - c.pos - 1
		c.pos = d.Msg.Seq
		c.unique++
	}
	c.last = d
	return nil
}

// end tells whether everything was delivered, now that the channel is empty:
// acked is the last number whose Send returned nil, published the last one that
// can be in the channel, life the current consumer's.
func (c *checker) end(acked, published, life uint64) error {
	lost := (life - max(c.last.Life, 1)) * c.takes
	if c.pos+lost < acked {
		return fmt.Errorf("lost: messages %d to %d were acknowledged, and the channel is empty", c.pos+1, acked)
	}
	if c.pos > published {
		return fmt.Errorf("message %d was delivered, and only %d could have been sent", c.pos, published)
	}
	return nil
}

// Each line is a history of deliveries: number/sender's life/consumer's life.
var histories = []struct {
	name  string
	takes uint64
	burst uint64
	log   string
	fault string // none: passes
}{
	{"in order", 0, 1, "1/1/1 2/1/1 3/1/1", ""},
	{"lost", 0, 1, "1/1/1 3/1/1", "lost"},
	{"lost at first", 0, 1, "2/1/1", "lost"},
	{"doubled", 0, 1, "1/1/1 2/1/1 2/1/1", "doubled"},
	{"doubled later", 0, 1, "1/1/1 2/1/1 1/1/1", "doubled or out of order"},
	{"swapped", 0, 1, "1/1/1 3/1/1 2/1/1", "lost"},
	{"torn", 0, 1, "1/1/1 2/1/1!", "torn"},
	{"peeked again after a death", 0, 1, "1/1/1 2/1/1 2/1/2 3/1/2", ""},
	{"peeked again after each death", 0, 1, "1/1/1 1/1/2 1/1/3 2/1/3", ""},
	{"peeked again without a death", 0, 1, "1/1/1 1/1/2 1/1/2", "doubled"},
	{"released and peeked again", 0, 1, "1/1/1 2/1/1 1/1/2", "doubled or out of order"},
	{"lost with a consumer that peeks", 0, 1, "1/1/1 3/1/2", "lost"},
	{"sent again by a successor", 0, 1, "1/1/1 2/1/1 2/2/1 3/2/1", ""},
	{"a batch sent again", 0, 3, "1/1/1 2/1/1 3/1/1 1/2/1 2/2/1 3/2/1 4/2/1", ""},
	{"more than a batch sent again", 0, 2, "1/1/1 2/1/1 3/1/1 1/2/1", "sent again"},
	{"gap in what is sent again", 0, 3, "1/1/1 2/1/1 3/1/1 1/2/1 3/2/1", "lost"},
	{"doubled in what is sent again", 0, 3, "1/1/1 2/1/1 3/1/1 1/2/1 2/2/1 1/2/1", "doubled"},
	{"acknowledged, lost by the sender's death", 0, 1, "1/1/1 3/2/1", "lost"},
	{"the dead sender's message behind its successor's", 0, 1, "1/1/1 2/2/1 2/1/1", "earlier life"},
	{"both die", 0, 1, "1/1/1 2/1/1 2/1/2 2/2/2 3/2/2", ""},
	{"the dead consumer's after its successor's", 0, 1, "1/1/2 2/1/1", "earlier life"},

	{"recv in order", 1, 1, "1/1/1 2/1/1 3/1/1", ""},
	{"recv taken along", 1, 1, "1/1/1 3/1/2 4/1/2", ""},
	{"recv taken along by the first", 1, 1, "2/1/2", ""},
	{"recv two taken along by two", 1, 1, "1/1/1 4/1/3", ""},
	{"recv two taken along by one", 1, 1, "1/1/1 4/1/2", "lost"},
	{"recv lost without a death", 1, 1, "1/1/1 3/1/1", "lost"},
	{"recv doubled after a death", 1, 1, "1/1/1 1/1/2", "doubled"},
	{"recv doubled", 1, 1, "1/1/1 2/1/1 1/1/2", "doubled or out of order"},
	{"recv batch taken along", 3, 1, "1/1/1 5/1/2", ""},
	{"recv more than a batch taken along", 3, 1, "1/1/1 6/1/2", "lost"},
	{"recv sent again", 1, 1, "1/1/1 2/1/1 2/2/1", ""},
}

func TestChecker(t *testing.T) {
	for _, h := range histories {
		c := checker{takes: h.takes, burst: h.burst}
		var err error
		for _, word := range strings.Fields(h.log) {
			var seq, sender, life uint64
			if _, e := fmt.Sscanf(word, "%d/%d/%d", &seq, &sender, &life); e != nil {
				t.Fatal(h.name, e)
			}
			d := delivery{sealed(seq, sender), life}
			if strings.HasSuffix(word, "!") {
				d.Msg.Fill[2] = sealed(seq-1, sender).Fill[2]
			}
			if err = c.deliver(d); err != nil {
				break
			}
		}
		switch {
		case h.fault == "" && err != nil:
			t.Errorf("%s: %v", h.name, err)
		case h.fault != "" && (err == nil || !strings.Contains(err.Error(), h.fault)):
			t.Errorf("%s: error %v, want one that says %q", h.name, err, h.fault)
		}
	}
}

func TestCheckerEnd(t *testing.T) {
	c := checker{burst: 1}
	for seq := range uint64(3) {
		if err := c.deliver(delivery{sealed(seq+1, 1), 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.end(3, 4, 1); err != nil {
		t.Error(err)
	}
	if c.end(4, 5, 1) == nil || c.end(4, 5, 2) == nil {
		t.Error("an acknowledged message that never came was passed")
	}
	if c.end(1, 2, 1) == nil {
		t.Error("a message that nobody sent was passed")
	}
	c.takes = 1
	if err := c.end(4, 5, 2); err != nil {
		t.Error(err)
	}
	if c.end(5, 6, 2) == nil {
		t.Error("two messages taken along by one consumer were passed")
	}
}

// A message whose bytes are of two messages is never whole.
func TestTornIsSeen(t *testing.T) {
	a, b := sealed(7, 1), sealed(11, 1)
	for cut := 1; cut < 7; cut++ {
		m := a
		words := [7]*uint64{&m.Seq, &m.Life, &m.Fill[0], &m.Fill[1], &m.Fill[2], &m.Fill[3], &m.Sum}
		from := [7]uint64{b.Seq, b.Life, b.Fill[0], b.Fill[1], b.Fill[2], b.Fill[3], b.Sum}
		for i := range cut {
			*words[i] = from[i]
		}
		if m.whole() {
			t.Errorf("%d words of one message and the rest of another count as whole", cut)
		}
	}
	if !a.whole() || (&message{}).whole() {
		t.Error("whole is wrong about sound messages or zeros")
	}
}
