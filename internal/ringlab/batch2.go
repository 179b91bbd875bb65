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
func (r *ringE[T]) SendN(vs []T) int {
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
	sent := 0
	for sent < int(n) {
		k := min(r.k-r.idx, uint32(int(n)-sent))
		dst := unsafe.Slice((*T)(unsafe.Add(r.cur, 8)), r.k)[r.idx:]
		for i := range k {
			dst[i] = vs[sent+int(i)]
		}
		sent += int(k)
		r.pub += k
		rel32((*uint32)(r.cur), r.pub)
		if r.idx += k; r.idx == r.k {
			r.nextP()
		}
	}
	r.pt = t + n
	return int(n)
}
func (r *ringE[T]) RecvN(vs []T) int {
	got := 0
	for i := 0; r.cav == r.cidx; i++ {
		r.cav = atomic.LoadUint32((*uint32)(r.ccur)) - r.cbase
		if r.cav != r.cidx {
			break
		}
		r.cw.cwait(i)
	}
	r.cw.streak++
	for got < len(vs) {
		if r.cav == r.cidx {
			r.cav = atomic.LoadUint32((*uint32)(r.ccur)) - r.cbase
			if r.cav == r.cidx {
				break
			}
		}
		n := min(r.cav-r.cidx, uint32(len(vs)-got))
		src := unsafe.Slice((*T)(unsafe.Add(r.ccur, 8)), r.k)[r.cidx:]
		for i := range n {
			vs[got+int(i)] = src[i]
		}
		got += int(n)
		if r.cidx += n; r.cidx == r.k {
			r.nextC()
		}
	}
	r.ch += uint64(got)
	rel(r.head, r.ch)
	return got
}
