//go:build !modelcheck

#include "textflag.h"

// func Pause(n uint32)
TEXT ·Pause(SB), NOSPLIT, $0-4
	MOVL n+0(FP), AX
again:
	PAUSE
	SUBL $1, AX
	JHI again
	RET

// func Fence()
TEXT ·Fence(SB), NOSPLIT, $8-0
	LOCK
	ADDL $0, 0(SP)
	RET
