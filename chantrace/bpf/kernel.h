/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/*
 * What the observer uses of the kernel, by hand: the types with just the
 * fields that are read (their offsets are relocated when the program is
 * loaded, by the kernel's own BTF), the helpers with the numbers that are part
 * of the kernel's ABI, and the numbers of the system calls.
 */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed int s32;
typedef _Bool bool;
enum { false, true };

#define NULL ((void *)0)
#define always_inline inline __attribute__((always_inline))
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name
#define field_exists(field) __builtin_preserve_field_info(field, 2 /* BPF_FIELD_EXISTS */)

enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_TASK_STORAGE = 29,
	BPF_F_NO_PREALLOC = 1,                 // of maps
	BPF_NOEXIST = 1,                       // of bpf_map_update_elem
	BPF_LOCAL_STORAGE_GET_F_CREATE = 1,    // of bpf_task_storage_get

	PF_KTHREAD = 0x00200000,               // task_struct.flags
	TASK_INTERRUPTIBLE = 1,                // task_struct.__state
	TASK_WAKING = 0x200,
	VM_MAYSHARE = 0x80,                    // vm_area_struct.vm_flags: mapped with MAP_SHARED

	EAGAIN = 11,
	EBUSY = 16,
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct super_block {
	u32 s_dev;
};

struct inode {
	unsigned long i_ino;
	struct super_block *i_sb;
};

struct file {
	struct inode *f_inode;
};

struct vm_area_struct {
	unsigned long vm_start;
	unsigned long vm_pgoff;
	unsigned long vm_flags;
	struct file *vm_file;
};

typedef struct {
	unsigned long sig[1];
} sigset_t;

struct sigpending {
	sigset_t signal;
};

struct signal_struct {
	struct sigpending shared_pending;
};

struct task_struct {
	unsigned int __state;
	unsigned int flags;
	int pid;
	int tgid;
	struct signal_struct *signal;
	sigset_t blocked;
	struct sigpending pending;
	char comm[16];
};

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long r10, r8, si, di, orig_ax;
};
#elif defined(__TARGET_ARCH_arm64)
struct pt_regs {
	u64 regs[31];
	u64 orig_x0;
	s32 syscallno;
};
#else
#error "the observer knows the registers of amd64 and arm64 only"
#endif

#pragma clang attribute pop

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static u64 (*const bpf_ktime_get_ns)(void) = (void *)5;
static u64 (*const bpf_get_current_pid_tgid)(void) = (void *)14;
static long (*const bpf_probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static void *(*const bpf_task_storage_get)(void *map, struct task_struct *task, void *value, u64 flags) = (void *)156;
static struct task_struct *(*const bpf_get_current_task_btf)(void) = (void *)158;
static long (*const bpf_task_pt_regs)(struct task_struct *task) = (void *)175;
static long (*const bpf_find_vma)(struct task_struct *task, u64 addr, void *callback, void *ctx, u64 flags) = (void *)180;

/* The system calls. Those since 449 have one number on all architectures. */
enum {
#if defined(__TARGET_ARCH_x86)
	NR_futex = 202,
#else
	NR_futex = 98,
#endif
	NR_futex_waitv = 449,
	NR_futex_wake = 454,
	NR_futex_wait = 455,

	FUTEX_WAIT = 0,                        // second argument of futex
	FUTEX_WAKE = 1,
	FUTEX_REQUEUE = 3,
	FUTEX_CMP_REQUEUE = 4,
	FUTEX_WAKE_OP = 5,
	FUTEX_WAIT_BITSET = 9,
	FUTEX_WAKE_BITSET = 10,
	FUTEX_CMD_MASK = 0x7f,
	FUTEX_PRIVATE = 0x80,                  // the word is not shared between processes; of the new calls too
};

struct syscall {
	u32 nr;
	u64 arg[5];
};

/* syscall_of reads which system call a task is in, from what it had in its
 * registers when it entered the kernel. If it came in by an interrupt or a fault,
 * the number is none of those above (-1 or less). */
static always_inline void syscall_of(struct task_struct *t, struct syscall *c)
{
	struct pt_regs *r = (struct pt_regs *)bpf_task_pt_regs(t);
#if defined(__TARGET_ARCH_x86)
	c->nr = r->orig_ax;
	c->arg[0] = r->di;
	c->arg[1] = r->si;
	c->arg[3] = r->r10;
	c->arg[4] = r->r8;
#else
	c->nr = r->syscallno;
	c->arg[0] = r->orig_x0; // x0 is also the result
	c->arg[1] = r->regs[1];
	c->arg[3] = r->regs[3];
	c->arg[4] = r->regs[4];
#endif
}
