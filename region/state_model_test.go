//go:build modelcheck

package region

import (
	"errors"
	"fmt"
	"testing"

	"github.com/shmkit/shm/internal/modelcheck"
	"github.com/shmkit/shm/internal/modelcheck/suite"
	"github.com/shmkit/shm/internal/word"
)

// The models of a role's word: claim, leave and probe from the source that
// ships, over locks that are words here. What the kernel does for a dead
// process, let its locks go, a thread does that waits for the death.

// wordLocks is one description of the lock inode.
type wordLocks struct {
	bytes *[3]word.U32 // who has which byte
	me    uint32
}

func (l *wordLocks) try(b int64) (bool, error) {
	return l.bytes[b].CompareAndSwap(0, l.me) || l.bytes[b].Load() == l.me, nil
}

func (l *wordLocks) unlock(b int64) error {
	l.bytes[b].CompareAndSwap(l.me, 0)
	return nil
}

func (l *wordLocks) held(b int64) (bool, error) {
	o := l.bytes[b].Load()
	return o != 0 && o != l.me, nil
}

func (l *wordLocks) close() error {
	for b := range l.bytes {
		l.unlock(int64(b))
	}
	return nil
}

// stage is one role and its locks.
type stage struct {
	w     *modelcheck.World
	ep    *[1]endpoint
	bytes *[3]word.U32
	ids   uint32
}

func newStage(w *modelcheck.World) *stage {
	return &stage{w: w, ep: modelcheck.Alloc[[1]endpoint](w, "role"), bytes: modelcheck.Alloc[[3]word.U32](w, "lock")}
}

// attachment is a Region with a description of its own.
func (s *stage) attachment() *Region {
	s.ids++
	return &Region{roles: s.ep[:], locks: &wordLocks{s.bytes, s.ids}, role: -1, data: -1}
}

// leaveAs is Detach or Close without mapping and watch.
func leaveAs(r *Region, p Phase) {
	r.leave(p)
	r.release()
}

// kernel lets the locks of a dead thread go.
func (s *stage) kernel(name string, r *Region) {
	locks := r.locks
	s.w.Go("kernel", func() {
		s.w.AwaitDeath(name)
		locks.close()
	})
}

// state is the last one. Operations in Final are performed at once.
func (s *stage) state() State { return unpack(s.ep[0].word.Load()) }

// claimSoon claims as soon as nobody has the role.
func claimSoon(r *Region) error {
	for {
		err := r.claim(0, nil)
		if !errors.Is(err, ErrBusy) {
			return err
		}
		word.Pause(1)
	}
}

func mustNot(err error) {
	if err != nil {
		panic(err)
	}
}

// TestModelRoleLeft: a holder detaches, a successor claims, and two observers
// see no death.
func TestModelRoleLeft(t *testing.T) {
	models := suite.New(t)
	for _, observers := range []int{1, 2} {
		models.Explore(fmt.Sprintf("role left and claimed, %d observers", observers), modelcheck.Config{MaxExecutions: suite.UpTo(100_000, 0)}, func(w *modelcheck.World) {
			s := newStage(w)
			holder, next := s.attachment(), s.attachment()
			mustNot(holder.claim(0, nil))
			w.Go("holder", func() { leaveAs(holder, Detached) })
			w.Go("successor", func() { mustNot(claimSoon(next)) })
			for i := range observers {
				o := s.attachment()
				w.Go("observer"+string(rune('1'+i)), func() {
					if st := o.probe(0); st.Phase == Dead || st.Deaths != 0 {
						panic(fmt.Sprintf("observed %+v", st))
					}
				})
			}
			w.Final(func() error {
				if st := s.state(); st.Phase != Attached || st.Epoch != 2 || st.Deaths != 0 {
					return fmt.Errorf("state %+v", st)
				}
				return nil
			})
		})
	}
}

// TestModelRoleClosed: nobody claims a role that was closed, and its closing
// is no death.
func TestModelRoleClosed(t *testing.T) {
	models := suite.New(t)
	models.Explore("role closed", modelcheck.Config{}, func(w *modelcheck.World) {
		s := newStage(w)
		holder, next, o := s.attachment(), s.attachment(), s.attachment()
		mustNot(holder.claim(0, nil))
		w.Go("holder", func() { leaveAs(holder, Closed) })
		w.Go("successor", func() {
			if err := claimSoon(next); !errors.Is(err, ErrRoleClosed) {
				panic(err)
			}
		})
		w.Go("observer", func() { o.probe(0) })
		w.Final(func() error {
			if st := s.state(); st.Phase != Closed || st.Epoch != 1 || st.Deaths != 0 || s.bytes[1].Load() != 0 {
				return fmt.Errorf("state %+v", st)
			}
			return nil
		})
	})
}

// TestModelRoleRace: two claim a free role, one gets it.
func TestModelRoleRace(t *testing.T) {
	models := suite.New(t)
	models.Explore("role claimed by two", modelcheck.Config{}, func(w *modelcheck.World) {
		s := newStage(w)
		for _, name := range []string{"ann", "bob"} {
			r := s.attachment()
			w.Go(name, func() { mustNot(claimSoon(r)); leaveAs(r, Detached) })
		}
		o := s.attachment()
		w.Go("observer", func() { o.probe(0) })
		w.Final(func() error {
			if st := s.state(); st.Phase != Detached || st.Epoch != 2 || st.Deaths != 0 {
				return fmt.Errorf("state %+v", st)
			}
			return nil
		})
	})
}

// mortal has a holder that claims and leaves, and may die; a successor that
// claims; observers.
func mortal(observers int, left Phase, successor bool) func(*modelcheck.World) {
	return func(w *modelcheck.World) {
		s := newStage(w)
		holder := s.attachment()
		w.Go("holder", func() {
			mustNot(claimSoon(holder))
			leaveAs(holder, left)
		})
		s.kernel("holder", holder)
		if successor {
			next := s.attachment()
			w.Go("successor", func() {
				w.AwaitDeath("holder")
				if err := claimSoon(next); err != nil && !(left == Closed && errors.Is(err, ErrRoleClosed)) {
					panic(err)
				}
			})
		}
		for i := range observers {
			o := s.attachment()
			w.Go("observer"+string(rune('1'+i)), func() {
				if st := o.probe(0); st.Deaths > 1 {
					panic(fmt.Sprintf("observed %+v", st))
				}
			})
		}
		w.Final(func() error {
			o := &Region{roles: s.ep[:], locks: &wordLocks{s.bytes, 99}, role: -1, data: -1}
			st := o.probe(0)
			died := w.Crashed("holder")
			switch {
			case !died && (st.Phase != left || st.Epoch != 1 || st.Deaths != 0):
				return fmt.Errorf("nobody died: %+v", st)
			case died && st.Deaths > 1:
				return fmt.Errorf("one death was counted twice: %+v", st)
			case died && st.Deaths == 0 && st.Phase == Dead:
				return fmt.Errorf("dead without a death: %+v", st)
			case died && !successor && st.Phase == Attached:
				return fmt.Errorf("a dead holder lives: %+v", st)
			case died && successor && st.Phase != Attached && st.Phase != Closed:
				return fmt.Errorf("the successor has nothing: %+v", st)
			}
			return nil
		})
	}
}

// TestModelRoleDies: a holder at each step of claim and leave, two observers,
// a successor.
func TestModelRoleDies(t *testing.T) {
	models := suite.New(t)
	for _, left := range []Phase{Detached, Closed} {
		cfg := modelcheck.Config{}
		models.Sweep(fmt.Sprintf("holder dies, then %v, observer", left), cfg, "holder", mortal(1, left, false))
		models.Sweep(fmt.Sprintf("holder dies, then %v, observer, successor", left), cfg, "holder", mortal(1, left, true))
		cfg.MaxExecutions = suite.UpTo(5_000, 500_000) // for each step
		models.Sweep(fmt.Sprintf("holder dies, then %v, two observers, successor", left), cfg, "holder", mortal(2, left, true))
		models.SweepStop(fmt.Sprintf("holder stops, then %v, two observers", left), cfg, "holder", func(w *modelcheck.World) {
			s := newStage(w)
			holder := s.attachment()
			w.Go("holder", func() { mustNot(claimSoon(holder)); leaveAs(holder, left) })
			for i := range 2 {
				o := s.attachment()
				w.Go("observer"+string(rune('1'+i)), func() {
					if st := o.probe(0); st.Deaths > 0 {
						panic("one that is stopped is not dead")
					}
				})
			}
		})
	}
}

// TestModelRoleDiesAttached: the holder of a role dies; two observers and a
// successor agree on one death.
func TestModelRoleDiesAttached(t *testing.T) {
	models := suite.New(t)
	models.Sweep("one death, a successor that dies, two observers", modelcheck.Config{MaxExecutions: suite.UpTo(50_000, 0)}, "successor", func(w *modelcheck.World) {
		s := newStage(w)
		dead, next, third := s.attachment(), s.attachment(), s.attachment()
		mustNot(dead.claim(0, nil))
		dead.locks.close() // it died
		w.Go("successor", func() { mustNot(claimSoon(next)) })
		s.kernel("successor", next)
		w.Go("third", func() {
			w.AwaitDeath("successor")
			mustNot(claimSoon(third))
		})
		for _, name := range []string{"observer1", "observer2"} {
			o := s.attachment()
			w.Go(name, func() {
				// A claim that has the lock and has not stored its word yet hides the death.
				if st := o.probe(0); st.Deaths > 2 || st.Deaths == 0 && st.Epoch != 1 {
					panic(fmt.Sprintf("observed %+v", st))
				}
			})
		}
		w.Final(func() error {
			want := State{Phase: Attached, Epoch: 2, Deaths: 1}
			st := s.state()
			if w.Crashed("successor") && st.Epoch == 3 { // it died after it had attached
				want.Epoch, want.Deaths = 3, 2
			}
			if st != want {
				return fmt.Errorf("state %+v, want %+v", st, want)
			}
			return nil
		})
	})
}

// TestModelRoleHostile: a word full of garbage keeps nobody busy for ever.
func TestModelRoleHostile(t *testing.T) {
	models := suite.New(t)
	for _, garbage := range []uint64{^uint64(0), 6, 1<<63 | uint64(Attached), uint64(Transit)} {
		models.Explore("garbage in the word", modelcheck.Config{}, func(w *modelcheck.World) {
			s := newStage(w)
			s.ep[0].word.Store(garbage)
			r, o := s.attachment(), s.attachment()
			w.Go("claimer", func() {
				if err := claimSoon(r); err != nil && !errors.Is(err, ErrRoleClosed) {
					panic(err)
				}
			})
			w.Go("observer", func() { o.probe(0) })
			w.Go("writer", func() {
				for i := range uint64(3) {
					s.ep[0].word.Store(garbage + i)
				}
			})
		})
	}
}

// Seeded bugs: observers and holders that do one thing wrong.
func TestModelRoleBugs(t *testing.T) {
	models := suite.New(t)
	probes := map[string]func(r *Region){
		"observer loads the word after it saw the lock": func(r *Region) {
			if !held(r.locks, roleByte(0)) {
				if st := r.State(0); st.Phase == Attached {
					r.roles[0].word.CompareAndSwap(st.pack(), st.died().pack())
				}
			}
		},
		"observer stores instead of comparing": func(r *Region) {
			if st := r.State(0); st.Phase == Attached && !held(r.locks, roleByte(0)) {
				r.roles[0].word.Store(st.died().pack())
			}
		},
	}
	for name, execution := range map[string]int{"observer loads the word after it saw the lock": 4, "observer stores instead of comparing": 27} {
		models.Bug(name, modelcheck.Config{}, func(w *modelcheck.World) {
			s := newStage(w)
			holder, next, o := s.attachment(), s.attachment(), s.attachment()
			mustNot(holder.claim(0, nil))
			w.Go("holder", func() { leaveAs(holder, Detached) })
			w.Go("successor", func() { mustNot(claimSoon(next)) })
			w.Go("observer", func() { probes[name](o) })
			w.Final(func() error {
				if st := s.state(); st.Phase != Attached || st.Deaths != 0 {
					return fmt.Errorf("state %+v", st)
				}
				return nil
			})
		}, modelcheck.Final, execution)
	}
	models.Bug("holder unlocks before it leaves", modelcheck.Config{}, func(w *modelcheck.World) {
		s := newStage(w)
		holder, o := s.attachment(), s.attachment()
		mustNot(holder.claim(0, nil))
		w.Go("holder", func() {
			holder.locks.unlock(roleByte(0))
			holder.leave(Detached)
		})
		w.Go("observer", func() {
			if st := o.probe(0); st.Deaths != 0 {
				panic(fmt.Sprintf("observed %+v", st))
			}
		})
	}, modelcheck.Panic, 2)
}

// TestModelRoleTransit: a role on its way to another process. Either the
// other attaches, and nobody sees a death, or every copy of the descriptor is
// gone, and two observers count one.
func TestModelRoleTransit(t *testing.T) {
	models := suite.New(t)
	for _, arrives := range []bool{true, false} {
		models.Explore(fmt.Sprintf("role in transit, arrives %v", arrives), modelcheck.Config{MaxExecutions: suite.UpTo(100_000, 0)}, func(w *modelcheck.World) {
			s := newStage(w)
			holder, next := s.attachment(), s.attachment()
			s.ids++
			parcel := &wordLocks{s.bytes, s.ids}
			sent := modelcheck.Alloc[word.U32](w, "sent")
			mustNot(holder.claim(0, nil))
			w.Go("holder", func() { // as in File
				parcel.try(transitByte(0))
				leaveAs(holder, Transit)
				sent.Store(1)
			})
			w.Go("attacher", func() { // as in FromFile
				for sent.Load() == 0 {
					word.Pause(1)
				}
				if arrives {
					mustNot(next.claim(0, parcel))
				}
				parcel.close()
			})
			for _, name := range []string{"observer1", "observer2"} {
				o := s.attachment()
				w.Go(name, func() {
					if st := o.probe(0); st.Deaths > 1 || arrives && st.Deaths != 0 {
						panic(fmt.Sprintf("observed %+v", st))
					}
				})
			}
			w.Final(func() error {
				o := &Region{roles: s.ep[:], locks: &wordLocks{s.bytes, 99}, role: -1, data: -1}
				st := o.probe(0)
				if arrives && (st.Phase != Attached || st.Epoch != 2 || st.Deaths != 0) ||
					!arrives && (st.Phase != Dead || st.Epoch != 1 || st.Deaths != 1) {
					return fmt.Errorf("state %+v", st)
				}
				return nil
			})
		})
	}
}
