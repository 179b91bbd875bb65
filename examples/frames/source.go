package main

import (
	"fmt"
	"io"
	"os"
)

// A source has frames, one after the other.
type source interface {
	next(frame []byte) error // fills it
	rewind() error
	close()
}

func open(file string) (source, error) {
	if file == "" {
		return &drawn{}, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err == nil && st.Mode().IsRegular() && st.Size() < frameSize {
		f.Close()
		return nil, fmt.Errorf("%s has %d bytes, a frame of %d × %d in YUV 4:2:0 has %d", file, st.Size(), width, height, frameSize)
	}
	return &video{f}, nil
}

// video is a file of frames, read round and round.
type video struct{ f *os.File }

func (v *video) next(frame []byte) error {
	_, err := io.ReadFull(v.f, frame)
	if err == io.EOF || err == io.ErrUnexpectedEOF { // whole frames only
		if err := v.rewind(); err != nil {
			return err
		}
		_, err = io.ReadFull(v.f, frame)
	}
	return err
}

func (v *video) rewind() error {
	_, err := v.f.Seek(0, io.SeekStart)
	return err
}

func (v *video) close() { v.f.Close() }

// drawn is a bright bar that moves over a picture without colour.
type drawn struct{ n int }

func (d *drawn) next(frame []byte) error {
	var row [width]byte
	bar := d.n * 8 % width
	for x := range row {
		row[x] = byte(x * 160 / width)
		if (x+width-bar)%width < 64 {
			row[x] = 235
		}
	}
	for y := range height {
		copy(frame[y*width:], row[:])
	}
	chroma := frame[lumaSize:]
	for i := range chroma {
		chroma[i] = 128
	}
	d.n++
	return nil
}

func (d *drawn) rewind() error { d.n = 0; return nil }
func (d *drawn) close()        {}
