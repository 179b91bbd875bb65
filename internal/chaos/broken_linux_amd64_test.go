package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// broken are operations that do what they must not, under the scenes of the right
// ones. Each must be found.
var broken = []struct {
	operation
	finds string
	kind  string
}{
	{operation{name: "says that it has sent, and sends", sends: true, scene: (*stage).sending,
		run: func(v *victim) { v.sent(1, nil); v.send() }}, "lost", "named"},
	{operation{name: "publishes, and writes", sends: true, scene: (*stage).sending,
		run: func(v *victim) {
			p, err := v.tx.Reserve(bg)
			if err == nil {
				p.Seq, p.Life = v.next, v.life
				err = v.tx.Commit()
			}
			*p = v.ms[0]
			v.sent(1, err)
		}}, "torn", "named"},
	{operation{name: "sends twice", sends: true, scene: (*stage).sending,
		run: func(v *victim) { v.send(); v.send() }}, "doubled", "named"},
	{operation{name: "skips one", sends: true, scene: (*stage).sending,
		run: func(v *victim) { v.ms[0], v.next = v.ms[1], v.next+1; v.send() }}, "lost", "named"},
	{operation{name: "releases, and writes down", scene: (*stage).receiving,
		run: func(v *victim) {
			p, err := v.rx.Peek(bg)
			m := *p
			if err == nil {
				err = v.rx.Release()
			}
			v.got(err, m)
		}}, "lost", "named"},
	{operation{name: "receives what it was not to", takes: 1, scene: (*stage).receiving,
		run: func(v *victim) { v.rx.Recv(bg); v.rx.Recv(bg); v.recv() }}, "lost", "named"},
	{operation{name: "writes down twice", takes: 1, scene: (*stage).receiving,
		run: func(v *victim) { m, err := v.rx.Recv(bg); v.got(err, m, m) }}, "doubled", "named"},
	{operation{name: "leaves so that nobody is told", sends: true, scene: (*stage).sending,
		run: (*victim).detach}, "deadline", "named"},
	{operation{name: "leaves a file behind", sends: true, alone: true, scene: (*stage).leaving,
		run: func(v *victim) {
			os.WriteFile(filepath.Join(filepath.Dir(v.role.where), "stray"), nil, 0o600)
			v.close()
		}}, "is left", "named"},
	{operation{name: "sends without saying so", sends: true, scene: (*stage).leaving, prep: (*victim).two,
		run: func(v *victim) { v.tx.TrySend(v.ms[0]); v.close() }}, "only 2 could have been sent", "named"},
	{operation{name: "sends, and writes", sends: true, scene: (*stage).sending,
		run: func(v *victim) {
			tx := v.tx.(*bufSender)
			b, err := tx.Loan(bg, 3*full)
			if err == nil {
				p := b.Bytes()
				write(b, v.ms[0])
				err = tx.BufSender.Send(bg, b)
				p[2*full]++
			}
			v.sent(1, err)
		}}, "torn", "block named"},
	{operation{name: "sends, and makes a block nobody's", sends: true, scene: (*stage).sending, prep: (*victim).look,
		run: func(v *victim) {
			v.send()
			v.spoil()
		}}, "blocks are in use", "block named"},
	{operation{name: "allocates, and makes a block nobody's", scene: (*stage).pooling, prep: (*victim).look,
		run: func(v *victim) {
			v.spoil()
			v.alloc()
		}}, "blocks are in use", "pool"},
}

func (v *victim) look() { _, _, v.states = poolWords(v.role.where) }

// spoil makes a free block one that is on its way, and nobody's.
func (v *victim) spoil() {
	for _, s := range v.states {
		if w := s.Load(); w&0xffffff == 1 {
			s.Store(w&^0xffffff | 4)
			return
		}
	}
}

// A trap takes what a stage finds for itself.
type trap struct{ testing.TB }

type found string

func (trap) Fatal(args ...any)            { panic(found(fmt.Sprint(args...))) }
func (trap) Fatalf(f string, args ...any) { panic(found(fmt.Sprintf(f, args...))) }

// TestSweepFinds: a check that finds nothing may be one that looks at nothing.
func TestSweepFinds(t *testing.T) {
	needsTracing(t)
	for i := range broken {
		b := &broken[i]
		t.Run(b.name, func(t *testing.T) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			defer everywhere(0)
			defer func() {
				switch p := recover().(type) {
				case found:
					if !strings.Contains(string(p), b.finds) {
						t.Errorf("found %q, want one that says %q", p, b.finds)
					}
				case nil:
					t.Error("not found")
				default:
					panic(p)
				}
			}()
			st := newStage(trap{t}, kindOf(b.kind), &b.operation)
			st.patience = time.Second
			trace, _ := st.record()
			to := routes(trace)
			for k := 0; k < len(trace); k += 3 {
				b.scene(st, to[k])
			}
		})
	}
}
