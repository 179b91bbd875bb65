package chantrace

// Options say what to trace. The zero value is right for most users.
type Options struct {
	// MaxWords is how many words (places that somebody sleeps on) have room; 0
	// is 1024. Each takes about 1.5 KB of kernel memory, from the start. What
	// comes when all are taken is counted in [Lost].
	MaxWords int

	// Syscalls adds what only the ends of system calls tell: WordStats.Refused,
	// Wakes and Wasted. It slows down every system call of the machine, also of
	// programs that have nothing to do with shared memory; docs/tracing.md has
	// figures.
	Syscalls bool
}

const defaultMaxWords = 1024

// Lost counts the waits that are in no [WordStats], and why.
type Lost struct {
	Full      uint64 // no room for another word, see Options.MaxWords
	Memory    uint64 // the kernel had no memory to follow another thread
	Missed    uint64 // the waking was not seen
	Contended uint64 // where the word lies could not be asked: its address space was being changed, or the CPU was busy with such a question
	Nowhere   uint64 // the word lies in no shared file mapping: in System V or anonymous memory of one process
	Many      uint64 // futex_waitv that no wake of a shared word ended: a time limit, a signal, a private word
	Recursion uint64 // the observer was at work already on that CPU
}
