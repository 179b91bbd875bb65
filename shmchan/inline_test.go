//go:build amd64 && !modelcheck

package shmchan_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// inlineProgram uses a channel as any program does: it imports shmchan and not
// what that is made of.
const inlineProgram = `package main

import (
	"context"

	"github.com/shmkit/shm/shmchan"
)

type message struct{ a, b, c uint64 }

func main() {
	ctx := context.Background()
	tx, rx, err := shmchan.Pair[message](shmchan.WithHeap())
	if err != nil {
		panic(err)
	}
	var vs [2]message
	if err := tx.Send(ctx, vs[0]); err != nil {
		panic(err)
	}
	if _, err := tx.SendBatch(ctx, vs[:]); err != nil {
		panic(err)
	}
	if _, err := tx.Reserve(ctx); err != nil {
		panic(err)
	}
	if err := tx.Commit(); err != nil {
		panic(err)
	}
	if _, err := rx.Recv(ctx); err != nil {
		panic(err)
	}
	if _, err := rx.RecvBatch(ctx, vs[:]); err != nil {
		panic(err)
	}
	if _, err := rx.Peek(ctx); err != nil {
		panic(err)
	}
	if err := rx.Release(); err != nil {
		panic(err)
	}
}
`

// The methods of Sender and Receiver are compiled in the package that uses them,
// which knows the bodies of spsc's functions only if this package's ordinary code
// has them inlined. Nothing but the rate tells when it does not: in batches it
// halves.
func TestHotPathsInline(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command")
	}
	dir := t.TempDir()
	source, overlay, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "program")
	here, err := os.Getwd()
	must(t, err)
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(here, "inlineprogram", "main.go"): source}})
	must(t, err)
	must(t, os.WriteFile(source, []byte(inlineProgram), 0o600))
	must(t, os.WriteFile(overlay, replace, 0o600))
	if out, err := exec.Command("go", "build", "-overlay", overlay, "-o", binary, "./inlineprogram").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	if out, err := exec.Command(binary).CombinedOutput(); err != nil {
		t.Fatalf("run: %v\n%s", err, out)
	}
	for _, f := range []string{
		"Sender.Send", "Sender.SendBatch", "Sender.Reserve", "Sender.Commit",
		"Receiver.Recv", "Receiver.RecvBatch", "Receiver.Peek", "Receiver.Release",
	} {
		end, method, _ := strings.Cut(f, ".")
		symbol := `^github.com/shmkit/shm/shmchan\.\(\*` + end + `\[.*\]\)\.` + method + `$`
		out, err := exec.Command("go", "tool", "objdump", "-s", symbol, binary).CombinedOutput()
		if err != nil {
			t.Fatalf("objdump: %v\n%s", err, out)
		}
		if !strings.Contains(string(out), "CALL") { // runtime.morestack at least
			t.Errorf("%s has no code:\n%s", f, out)
		}
		for l := range strings.Lines(string(out)) {
			if strings.Contains(l, "CALL") && strings.Contains(l, "/spsc.") {
				t.Errorf("%s calls what was to be inlined: %s", f, l)
			}
		}
	}
}
