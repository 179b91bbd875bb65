package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// maxInput bounds what is read into memory.
const maxInput = 4 << 30

// A corpus is what gets sent, all of it in memory, so that no disk is measured.
type corpus struct {
	from  string
	files [][]byte
	size  int64
}

// load reads one file, standard input ("-"), all regular files under a
// directory in the order of their paths, or ("") the Go source tree.
func load(in string, bar *progress) (*corpus, error) {
	if in == "-" {
		c := &corpus{from: "standard input"}
		return c, c.read(os.Stdin, bar)
	}
	if in == "" {
		var err error
		if in, err = goSource(); err != nil {
			return nil, err
		}
	}
	root, err := filepath.EvalSymlinks(in)
	if err != nil {
		return nil, fmt.Errorf("cannot read the input %s: %w", in, err)
	}
	c := &corpus{from: in}
	if err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		// The root is read whatever it is: it may be a named pipe.
		if err != nil || e.IsDir() || (path != root && !e.Type().IsRegular()) {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return unreadable(err)
		}
		defer f.Close()
		return c.read(f, bar)
	}); err != nil {
		return nil, fmt.Errorf("cannot read the input: %w", err)
	}
	if len(c.files) == 0 {
		return nil, fmt.Errorf("nothing to send: there is no regular file under %s", in)
	}
	return c, nil
}

// read appends all of f as one file.
func (c *corpus) read(f *os.File, bar *progress) error {
	data, err := io.ReadAll(io.LimitReader(f, maxInput-c.size+1))
	if err != nil {
		return unreadable(err)
	}
	c.files = append(c.files, data)
	c.size += int64(len(data))
	if c.size > maxInput {
		return fmt.Errorf("more than %d bytes up to %s, and all is read into memory first: choose less with -in", int64(maxInput), f.Name())
	}
	bar.add(1)
	return nil
}

func unreadable(err error) error {
	return fmt.Errorf("%w; make it readable or leave it out", err)
}

// goSource finds the source tree of the installed Go.
func goSource() (string, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	root := strings.TrimSpace(string(out))
	if err != nil || root == "" {
		//lint:ignore SA1019 what this program was built with, when there is no go command
		root = runtime.GOROOT()
	}
	src := filepath.Join(root, "src")
	if info, err := os.Stat(src); root == "" || err != nil || !info.IsDir() {
		return "", errors.New("found no Go source tree (`go env GOROOT` has no src): give something to send with -in DIR|FILE|-")
	}
	return src, nil
}
