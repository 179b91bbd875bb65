//go:build linux && amd64

package main

import (
	"sync/atomic"
	"unsafe"
)

func (r *ringB[T]) SendN(vs []T) int {
	t := r.pt
	n := uint64(len(vs))
	for i := 0; CAP-(t-r.pcached) < n; i++ {
		r.pcached = atomic.LoadUint64(r.head)
		if room := CAP - (t - r.pcached); room > 0 {
			n = min(n, room)
			break
		}
		r.pw.wait(i)
	}
	r.pw.streak++
	base, st := r.base, r.stride
	for i := range vs[:n] {
		p := unsafe.Add(base, uintptr(t&(CAP-1))*st)
		*(*T)(unsafe.Add(p, 8)) = vs[i]
		t++
		rel((*uint64)(p), t)
	}
	r.pt = t
	return int(n)
}
func (r *ringB[T]) RecvN(vs []T) int {
	t := r.ch
	n := len(vs)
	for i := 0; ; i++ {
		q := t + uint64(n) - 1
		p := unsafe.Add(r.base, uintptr(q&(CAP-1))*r.stride)
		if atomic.LoadUint64((*uint64)(p)) == q+1 {
			break
		}
		p = unsafe.Add(r.base, uintptr(t&(CAP-1))*r.stride)
		if atomic.LoadUint64((*uint64)(p)) == t+1 && n > 1 {
			n = (n + 1) / 2
			continue
		}
		n = len(vs)
		r.cw.cwait(i)
	}
	r.cw.streak++
	base, st := r.base, r.stride
	for i := range vs[:n] {
		vs[i] = *(*T)(unsafe.Add(base, uintptr(t&(CAP-1))*st+8))
		t++
	}
	rel(r.head, t)
	r.ch = t
	return n
}
