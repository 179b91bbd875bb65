/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/*
 * The observer: who sleeps on which shared futex word, how long, who wakes it,
 * and how long it then takes until it runs. Nothing runs in the observed
 * processes, and nothing of theirs is read but their registers and where the
 * word lies in a file.
 *
 * Invariants
 *   - wait.blocked is not 0 exactly while its task is off the CPU in a shared
 *     futex wait that began when the task had a wait already;
 *   - wait.woken is not 0 only between a waking and the next time that the task
 *     gets a CPU, or while a wake-up came so early that the task did not sleep;
 *   - an entry of `words` is never removed while the observer lives, so that
 *     its counts only grow.
 *
 * Ownership
 *   A task's wait: `blocked` is written by on_switch where the task leaves a
 *   CPU; `woken` to `waker` by on_waking where it is woken; both are cleared, and
 *   `self` is written, by on_switch where it gets a CPU. The first two can happen
 *   at once on two CPUs, which is why they write different fields; the third
 *   comes after both, by the kernel's own locks. `wakes` is written by on_waking,
 *   and `calls` by on_sys_exit, of the task itself.
 *   An entry of `words` is added to by any CPU, each field by itself.
 *
 * Who may die where
 *   A task that is killed while it sleeps is woken by that signal, runs once
 *   more, and is counted then. Its wait goes with it. If the process that
 *   attached the observer dies, the kernel detaches and frees everything.
 *
 * Why this cannot stop the kernel
 *   on_switch runs under the lock of the run queue, on_waking under a lock of the
 *   task that is woken, both with interrupts off. So what they call must neither
 *   wake anybody nor wait for who may need these locks.
 *   - `words` is allocated when it is made. Its inner locks are held for a few
 *     loads and stores with interrupts off, and no other lock is taken in them.
 *     A full table is an error at once. Nothing is ever deleted.
 *   - A wait is made by on_waking only, in the first waking of its task in a futex
 *     wait; of that one wait the time in the park is not known. Since Linux 6.4
 *     that memory comes from a reserve of the CPU. Before, it came from kmalloc
 *     with the lock of the task's storage held, and kmalloc may wake the kernel's
 *     reclaim thread and so need the lock of a run queue, under which on_switch
 *     may need the lock of that storage. That is why older kernels are refused.
 *   - bpf_find_vma only tries the lock of the address space, and lets go of it in
 *     an interrupt of its own, since to let go may wake. Until that interrupt
 *     nobody but the CPU holds the address space. So it is asked only for the
 *     current task, and for the one that the CPU goes on with: neither can exit
 *     before the interrupt. A task that is being woken could, on another CPU,
 *     and so could one that leaves.
 */
#include "kernel.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

enum {
	BUCKETS = 80,        // two for each power of two, so up to 2^40 ns
	TRUST_NS = 10000000, // how long a place is believed
};

/* The identity of a word: a place in a file. */
struct word {
	u64 inode;
	u64 offset;
	u32 device; // as the kernel has it: major << 20 | minor
	u32 zero;
};

struct task_sample {
	u64 id; // tgid << 32 | tid
	char comm[16];
};

/* What is known of a word. Only user space, and only by copies, reads it. */
struct stats {
	u64 park[BUCKETS]; // asleep -> woken
	u64 run[BUCKETS];  // woken -> running
	u64 park_ns, run_ns;
	u64 woken, timed_out, signalled, other;
	u64 refused, wakes, wasted; // by on_sys_exit only
	u64 addr;                   // of the word in the waiter's memory
	struct task_sample waiter, waker;
};

/* What could not be counted. */
struct losses {
	u64 full;     // no room in words
	u64 storage;  // no memory for a wait
	u64 missed;   // nobody saw the waking
	u64 contended; // where the word lies could not be asked
	u64 nowhere;  // it does not lie in a file
	u64 waitv;    // futex_waitv that was not ended by a wake of a shared word
};

enum kind { WOKEN, TIMED_OUT, SIGNALLED, OTHER };

/* Where an address led when it was last asked. word.inode is 0 if to no file. */
struct place {
	u64 addr;
	u64 asked; // 0: never
	struct word word;
};

struct wait {
	u64 blocked; // when it left the CPU; 0: does not sleep, or unknown
	struct place self;

	u64 woken; // when; 0: not yet
	bool first; // blocked is unknown
	bool called; // the current task was in a futex wake
	bool told_ok;
	u64 otherwise;    // the kind, if that was not what woke
	struct word told; // what that wake was for
	struct task_sample waker;

	struct place wakes; // this task as a waker
	struct place calls;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct word);
	__type(value, struct stats);
	__uint(max_entries, 1024);
} words SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct wait);
} waits SEC(".maps");

struct losses lost;

const volatile u32 page_shift = 12;

static const struct stats no_stats;

#define count(field) __sync_fetch_and_add(&(field), 1)

/* Keep in step with Histogram in histogram.go. */
static always_inline u32 bucket(u64 ns)
{
	u32 log = 0;
	u64 v = ns;

	if (v >> 32) { log += 32; v >>= 32; }
	if (v >> 16) { log += 16; v >>= 16; }
	if (v >> 8) { log += 8; v >>= 8; }
	if (v >> 4) { log += 4; v >>= 4; }
	if (v >> 2) { log += 2; v >>= 2; }
	if (v >> 1)
		log += 1;
	if (log == 0)
		return ns;
	u32 b = 2 * log + (ns >> (log - 1) & 1);
	return b < BUCKETS ? b : BUCKETS - 1;
}

struct asked {
	u64 addr;
	struct word word;
};

static long in_vma(struct task_struct *t, struct vm_area_struct *vma, struct asked *a)
{
	if (field_exists(vma->vm_flags) && !(vma->vm_flags & VM_MAYSHARE))
		return 0;
	struct file *f = vma->vm_file;
	if (!f)
		return 0;
	struct inode *i = f->f_inode;
	a->word.inode = i->i_ino;
	a->word.device = i->i_sb->s_dev;
	a->word.offset = a->addr - vma->vm_start + (vma->vm_pgoff << page_shift);
	return 0;
}

/* locate finds where an address leads and remembers it in p. The task is the
 * current one, or the one that gets the CPU. The answer is believed for a while,
 * because asking costs an interrupt; until that interrupt a CPU can ask no
 * second time. */
static always_inline bool locate(struct task_struct *t, u64 addr, struct place *p, u64 now)
{
	if (p->asked && p->addr == addr && now - p->asked < TRUST_NS)
		return true;

	struct asked a = { .addr = addr };
	long err = bpf_find_vma(t, addr, in_vma, &a, 0);
	if (err == -EBUSY) {
		count(lost.contended);
		return p->asked && p->addr == addr; // rather old than nothing
	}
	p->addr = addr;
	p->word = a.word; // inode 0 if there is none
	p->asked = now;
	return true;
}

enum wait_type { NO_WAIT, ONE_WORD, MANY_WORDS };

/* waits_for tells whether a system call waits for a shared futex, in arg[0], and
 * whether it has a time limit. */
static always_inline enum wait_type waits_for(struct syscall *c, bool *timed)
{
	u32 op, cmd;

	switch (c->nr) {
	case NR_futex:
		op = c->arg[1];
		cmd = op & FUTEX_CMD_MASK;
		*timed = c->arg[3] != 0;
		return !(op & FUTEX_PRIVATE) && (cmd == FUTEX_WAIT || cmd == FUTEX_WAIT_BITSET) ? ONE_WORD : NO_WAIT;
	case NR_futex_wait:
		*timed = c->arg[4] != 0;
		return !(c->arg[3] & FUTEX_PRIVATE) ? ONE_WORD : NO_WAIT;
	case NR_futex_waitv:
		*timed = c->arg[3] != 0;
		return MANY_WORDS;
	}
	return NO_WAIT;
}

/* wakes_shared tells whether a system call wakes a shared futex, in arg[0]. */
static always_inline bool wakes_shared(struct syscall *c)
{
	u32 op, cmd;

	switch (c->nr) {
	case NR_futex:
		op = c->arg[1];
		cmd = op & FUTEX_CMD_MASK;
		return !(op & FUTEX_PRIVATE) && (cmd == FUTEX_WAKE || cmd == FUTEX_WAKE_BITSET || cmd == FUTEX_WAKE_OP ||
						 cmd == FUTEX_REQUEUE || cmd == FUTEX_CMP_REQUEUE);
	case NR_futex_wake:
		return !(c->arg[3] & FUTEX_PRIVATE);
	}
	return false;
}

static always_inline bool same_word(struct word *a, struct word *b)
{
	return a->inode == b->inode && a->offset == b->offset && a->device == b->device;
}

static always_inline bool signal_pending(struct task_struct *t)
{
	return (t->pending.signal.sig[0] | t->signal->shared_pending.signal.sig[0]) & ~t->blocked.sig[0];
}

static always_inline struct stats *stats_of(struct word *w)
{
	struct stats *s = bpf_map_lookup_elem(&words, w);
	if (s)
		return s;
	bpf_map_update_elem(&words, w, &no_stats, BPF_NOEXIST); // or another CPU was first
	s = bpf_map_lookup_elem(&words, w);
	if (!s)
		count(lost.full);
	return s;
}

static always_inline void remember(struct task_sample *s, struct task_struct *t)
{
	u64 id = (u64)t->tgid << 32 | (u32)t->pid;
	if (s->id == id)
		return;
	s->id = id;
	bpf_probe_read_kernel(s->comm, sizeof(s->comm), t->comm);
}

/* leaves: a task leaves the CPU, and not because it has to. */
static always_inline void leaves(struct task_struct *t)
{
	struct syscall c = {};
	bool timed;

	if (t->flags & PF_KTHREAD)
		return;
	syscall_of(t, &c);
	enum wait_type type = waits_for(&c, &timed);
	if (type == NO_WAIT)
		return;
	// An argument of the tracepoint says what the state was, on some kernels and
	// not on others. What it is now is better: if a signal keeps the task from
	// sleeping, it is running again; if it is being woken already, it is waking.
	u32 state = t->__state;
	if (!(state & TASK_INTERRUPTIBLE) && state != TASK_WAKING)
		return; // asleep, but not in the futex: a page fault, say
	struct wait *w = bpf_task_storage_get(&waits, t, 0, 0);
	if (!w)
		return;
	w->blocked = bpf_ktime_get_ns();
}

/* enters: a task gets a CPU. */
static always_inline void enters(struct task_struct *t)
{
	struct syscall c = {};
	bool timed;

	if (t->flags & PF_KTHREAD)
		return;
	syscall_of(t, &c);
	enum wait_type type = waits_for(&c, &timed);
	if (type == NO_WAIT)
		return;
	struct wait *w = bpf_task_storage_get(&waits, t, 0, 0);
	if (!w)
		return;
	u64 blocked = w->blocked, woken = w->woken;
	bool first = w->first;
	w->blocked = 0;
	w->woken = 0;
	w->first = false;
	if (!blocked && !first)
		return; // it did not sleep: it had to leave the CPU on its way
	if (!woken) {
		count(lost.missed);
		return;
	}

	u64 now = bpf_ktime_get_ns();
	u64 kind = w->called ? WOKEN : w->otherwise;
	struct word key;
	if (type == ONE_WORD && locate(t, c.arg[0], &w->self, now)) {
		key = w->self.word;
		// What the current task did need not be what woke: an interrupt may do it,
		// of a timer for instance.
		if (timed && w->called && w->told_ok && !same_word(&key, &w->told))
			kind = w->otherwise;
	} else if (w->told_ok) {
		key = w->told;
	} else {
		if (type == MANY_WORDS)
			count(lost.waitv);
		return; // of one word it was counted as contended
	}
	if (!key.inode) {
		count(lost.nowhere);
		return;
	}
	struct stats *s = stats_of(&key);
	if (!s)
		return;

	u64 run = now - woken;
	count(s->run[bucket(run)]);
	__sync_fetch_and_add(&s->run_ns, run);
	if (blocked) {
		// A wake-up can come between the last look and the switch.
		u64 park = woken > blocked ? woken - blocked : 0;
		count(s->park[bucket(park)]);
		__sync_fetch_and_add(&s->park_ns, park);
	}
	switch (kind) {
	case WOKEN:
		count(s->woken);
		s->waker = w->waker;
		break;
	case TIMED_OUT:
		count(s->timed_out);
		break;
	case SIGNALLED:
		count(s->signalled);
		break;
	default:
		count(s->other);
	}
	s->addr = type == ONE_WORD ? c.arg[0] : 0;
	remember(&s->waiter, t);
}

/* args: bool preempt, struct task_struct *prev, struct task_struct *next, ... */
SEC("tp_btf/sched_switch")
int on_switch(u64 *ctx)
{
	if (!(u8)ctx[0])
		leaves((struct task_struct *)ctx[1]);
	enters((struct task_struct *)ctx[2]);
	return 0;
}

/* args: struct task_struct *p */
SEC("tp_btf/sched_waking")
int on_waking(u64 *ctx)
{
	struct task_struct *t = (struct task_struct *)ctx[0];
	struct syscall c = {};
	bool timed = false;

	if (t->flags & PF_KTHREAD || !(t->__state & TASK_INTERRUPTIBLE))
		return 0;
	syscall_of(t, &c);
	enum wait_type type = waits_for(&c, &timed);
	if (type == NO_WAIT)
		return 0;

	u64 now = bpf_ktime_get_ns();
	struct wait *w = bpf_task_storage_get(&waits, t, 0, 0);
	bool first = !w;
	if (!w) {
		w = bpf_task_storage_get(&waits, t, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
		if (!w) {
			count(lost.storage);
			return 0;
		}
	}

	w->told_ok = false;
	w->called = false;
	w->otherwise = signal_pending(t) ? SIGNALLED : timed ? TIMED_OUT : OTHER;

	struct task_struct *by = bpf_get_current_task_btf();
	struct syscall call = {};
	if (!(by->flags & PF_KTHREAD)) {
		syscall_of(by, &call);
		w->called = wakes_shared(&call);
	}
	if (w->called) {
		remember(&w->waker, by);
		// The word of the wake is asked for only where it may be needed.
		if (timed || type == MANY_WORDS || !(w->self.asked && w->self.addr == c.arg[0])) {
			// The kernel's reserve for storage may be one only, until interrupts are on.
			struct wait *b = bpf_task_storage_get(&waits, by, 0, first ? 0 : BPF_LOCAL_STORAGE_GET_F_CREATE);
			struct place once = {}, *there = b ? &b->wakes : &once;
			w->told_ok = locate(by, call.arg[0], there, now);
			w->told = there->word;
		}
	}
	w->first = first;
	w->woken = now;
	return 0;
}

/* args: struct pt_regs *regs, long ret. Only if asked for. */
SEC("tp_btf/sys_exit")
int on_sys_exit(u64 *ctx)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct syscall c = {};
	bool timed;

	syscall_of(t, &c);
	bool wakes = wakes_shared(&c);
	if (!wakes && !(waits_for(&c, &timed) == ONE_WORD && (long)ctx[1] == -EAGAIN))
		return 0;
	struct wait *w = bpf_task_storage_get(&waits, t, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!w) {
		count(lost.storage);
		return 0;
	}
	if (!locate(t, c.arg[0], &w->calls, bpf_ktime_get_ns()))
		return 0;
	if (!w->calls.word.inode)
		return 0;
	struct word key = w->calls.word;
	struct stats *s = stats_of(&key);
	if (!s)
		return 0;
	if (!wakes) {
		count(s->refused);
		return 0;
	}
	count(s->wakes);
	if ((long)ctx[1] == 0)
		count(s->wasted);
	return 0;
}
