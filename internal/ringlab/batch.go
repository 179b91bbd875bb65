//go:build linux && amd64

package main

import (
	"sync/atomic"
	"time"
	"unsafe"
)

func (r *ringC[T]) SendN(vs []T) int {
	t := r.pt
	n := len(vs)
	for i := 0; ; i++ {
		q := t + uint64(n) - 1
		p := unsafe.Add(r.base, uintptr(q&(CAP-1))*r.stride)
		if atomic.LoadUint64((*uint64)(p)) == q/CAP*2 {
			break
		}
		// partial: first?
		p = unsafe.Add(r.base, uintptr(t&(CAP-1))*r.stride)
		if atomic.LoadUint64((*uint64)(p)) == t/CAP*2 && n > 1 {
			n = (n + 1) / 2
			continue
		}
		n = len(vs)
		r.pw.wait(i)
	}
	r.pw.streak++
	mask := uint64(CAP - 1)
	base, st := r.base, r.stride
	for i := range vs[:n] {
		p := unsafe.Add(base, uintptr(t&mask)*st)
		*(*T)(unsafe.Add(p, 8)) = vs[i]
		rel((*uint64)(p), t/CAP*2+1)
		t++
	}
	r.pt = t
	return n
}
func (r *ringC[T]) RecvN(vs []T) int {
	t := r.ch
	n := len(vs)
	for i := 0; ; i++ {
		q := t + uint64(n) - 1
		p := unsafe.Add(r.base, uintptr(q&(CAP-1))*r.stride)
		if atomic.LoadUint64((*uint64)(p)) == q/CAP*2+1 {
			break
		}
		p = unsafe.Add(r.base, uintptr(t&(CAP-1))*r.stride)
		if atomic.LoadUint64((*uint64)(p)) == t/CAP*2+1 && n > 1 {
			n = (n + 1) / 2
			continue
		}
		n = len(vs)
		r.cw.cwait(i)
	}
	r.cw.streak++
	mask := uint64(CAP - 1)
	base, st := r.base, r.stride
	for i := range vs[:n] {
		p := unsafe.Add(base, uintptr(t&mask)*st)
		vs[i] = *(*T)(unsafe.Add(p, 8))
		rel((*uint64)(p), t/CAP*2+2)
		t++
	}
	r.ch = t
	return n
}
func (r *ringA[T]) SendN(vs []T) int {
	t := r.pt
	n := len(vs)
	for i := 0; CAP-(t-r.pcached) < uint64(n); i++ {
		r.pcached = atomic.LoadUint64(r.head)
		if CAP-(t-r.pcached) >= uint64(n) {
			break
		}
		r.pw.wait(i)
	}
	r.pw.streak++
	for i := range vs {
		*(*T)(unsafe.Add(r.base, uintptr(t&(CAP-1))*unsafe.Sizeof(vs[0]))) = vs[i]
		t++
	}
	rel(r.tail, t)
	r.pt = t
	return n
}
func (r *ringA[T]) RecvN(vs []T) int {
	h := r.ch
	n := uint64(len(vs))
	for i := 0; r.ccached-h < n; i++ {
		r.ccached = atomic.LoadUint64(r.tail)
		if r.ccached-h >= n {
			break
		}
		r.cw.cwait(i)
	}
	r.cw.streak++
	for i := range vs {
		vs[i] = *(*T)(unsafe.Add(r.base, uintptr(h&(CAP-1))*unsafe.Sizeof(vs[0])))
		h++
	}
	rel(r.head, h)
	r.ch = h
	return len(vs)
}

type batcher[T any] interface {
	SendN([]T) int
	RecvN([]T) int
}

func batch[T any](v string, role, n int) float64 {
	r := mk[T](v, shm).(batcher[T])
	buf := make([]T, 64)
	if role == 0 {
		for i := 0; i < n; {
			i += r.SendN(buf[:min(64, n-i)])
		}
		return 0
	}
	r.RecvN(buf[:1])
	t := time.Now()
	for i := 1; i < n; {
		i += r.RecvN(buf[:min(64, n-i)])
	}
	return float64(time.Since(t).Nanoseconds()) / float64(n)
}
